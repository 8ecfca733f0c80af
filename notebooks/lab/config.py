"""How JupyterLab opens for this project: `jupyter lab --config notebooks/lab/config.py`.

It starts with the first page, and its list of files shows the notebooks without the programs that lie beside them.
"""

from fnmatch import fnmatch
from pathlib import Path

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from traitlets.config import get_config

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = "notebooks"
FIRST_PAGE = "start_here.ipynb"
PROGRAMS = ("__pycache__", "lab", "src", "start.*", "*.py")  # in FOLDER only: folders of images may have such names


class Shelf(AsyncLargeFileManager):
    """Files as JupyterLab lists them: all, but in the folder of the notebooks not the programs."""

    async def get(self, path, content=True, **options):
        """Describe a file or folder as the parent class does; entries of the folder of the notebooks are chosen."""
        model = await super().get(path, content, **options)
        if content and model["type"] == "directory" and model["path"].strip("/") == FOLDER:
            listed = model["content"]
            model["content"] = [one for one in listed if not any(fnmatch(one["name"], name) for name in PROGRAMS)]
        return model


first = f"/{FIRST_PAGE}" if (ROOT / FOLDER / FIRST_PAGE).is_file() else ""
c = get_config()
c.ServerApp.root_dir = str(ROOT)
c.ServerApp.contents_manager_class = Shelf
c.LabApp.default_url = f"/lab/tree/{FOLDER}{first}"
c.LabApp.app_settings_dir = str(Path(__file__).resolve().parent)
