@echo off
rem Opens the notebooks in the browser; the first time it installs what they need into this folder (Windows).
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul
pushd "%~dp0.."
set "PYTHONHOME="
set "PYTHONPATH="
set "UV_PYTHON_INSTALL_DIR=%CD%\.uv\python"
set "UV_SYSTEM_CERTS=1"
set "UV_NATIVE_TLS=1"
set "PATH=%CD%\.uv;%USERPROFILE%\.local\bin;%PATH%"
set "START=notebooks\lab\start.py"
set "FITS=import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
set "FOUND="
set "CODE=1"
if not exist "%START%" goto unpack

if exist ".venv\Scripts\python.exe" call :try ".venv\Scripts\python.exe"
for %%v in (3.11 3.12 3.13) do if not defined FOUND call :try py -%%v
if not defined FOUND call :try python
if not defined FOUND call :bring
if not defined FOUND goto nopython
%FOUND% "%START%" %*
set "CODE=%ERRORLEVEL%"
if not "%CODE%"=="0" goto failed
popd
exit /b 0

:try
%* -c "%FITS%" >nul 2>nul
if "%ERRORLEVEL%"=="0" set FOUND=%*
exit /b 0

:bring
where uv >nul 2>nul
if "%ERRORLEVEL%"=="0" goto uv
echo Python 3.11, 3.12 or 3.13 is missing here: fetching it into this folder (about a minute) ...
set "UV_UNMANAGED_INSTALL=%CD%\.uv"
powershell -NoProfile -ExecutionPolicy Bypass -Command "irm https://astral.sh/uv/install.ps1 | iex" >nul 2>nul
:uv
call :try uv run --quiet --no-project --python 3.11 python
exit /b 0

:unpack
echo This file was opened inside a zip file. Please unpack the whole folder first: right click, "Extract All".
goto failed

:nopython
echo Python could not be fetched. Is there a connection to the internet, and may you write into "%CD%"?
echo Connect and start again, or install Python 3.12 from python.org first.

:failed
pause
popd
exit /b %CODE%
