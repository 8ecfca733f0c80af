"""Parameter forms: what a notebook needs of them."""

from utils.forms.fields import Automatic, FolderName, GroupRule, IfTaken, Sizes
from utils.forms.form import Form, parameters, save_settings
from utils.forms.settings import notebook

__all__ = [
    "Automatic",
    "FolderName",
    "Form",
    "GroupRule",
    "IfTaken",
    "Sizes",
    "notebook",
    "parameters",
    "save_settings",
]
