@echo off
rem Opens the notebooks in the browser; the first time it installs what they need into this folder (Windows).
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul
pushd "%~dp0.."
set "PYTHONHOME="
set "PYTHONPATH="
set "UV_SYSTEM_CERTS=1"
set "UV_NATIVE_TLS=1"
set "PATH=%CD%\.uv;%USERPROFILE%\.local\bin;%PATH%"
set "START=notebooks\lab\start.py"
set "FITS=import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
if not exist "%START%" goto unpack

if exist ".venv\Scripts\python.exe" (
  ".venv\Scripts\python.exe" -c "%FITS%" >nul 2>nul && goto installed
)
for %%v in (3.12 3.13 3.11) do (
  py -%%v -c "%FITS%" >nul 2>nul && set "VERSION=%%v" && goto launcher
)
python -c "%FITS%" >nul 2>nul && goto python

where uv >nul 2>nul && goto uv
echo Python 3.11, 3.12 or 3.13 is missing here: fetching it into this folder (about a minute) ...
set "UV_UNMANAGED_INSTALL=%CD%\.uv"
powershell -NoProfile -ExecutionPolicy Bypass -Command "irm https://astral.sh/uv/install.ps1 | iex" >nul 2>nul
:uv
uv run --quiet --no-project --python 3.12 python -c "" >nul 2>nul || goto nopython
uv run --quiet --no-project --python 3.12 "%START%" %*
goto end

:installed
".venv\Scripts\python.exe" "%START%" %*
goto end

:launcher
py -%VERSION% "%START%" %*
goto end

:python
python "%START%" %*
goto end

:unpack
echo This file was opened inside a zip file. Please unpack the whole folder first: right click, "Extract All".
set "CODE=1"
goto failed

:nopython
echo Python could not be fetched. Is there a connection to the internet, and may you write into "%CD%"?
echo Connect and start again, or install Python 3.12 from python.org first.
set "CODE=1"
goto failed

:end
set "CODE=%ERRORLEVEL%"
if "%CODE%"=="0" goto leave
:failed
pause
:leave
popd
exit /b %CODE%
