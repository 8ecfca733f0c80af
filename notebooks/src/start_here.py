# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   language_info:
#     name: python
# ---

# %% [markdown]
# # Start here: which page is for your images?
#
# Choose the folder of your images. This page says what lies in it and what looks wrong, which of the other pages fits
# and why, and how long a training would take on this computer. A click on *Open ...* opens that page with your folder
# filled in. Nothing is trained here, and no file of yours is changed.
#
# **How to use this page.** Choose *Run > Run All Cells* in the menu; after a few seconds there is a form in section 2.
# Choose your folder there; sections 3 and 4 follow by themselves, as often as you choose another one. Words that you do
# not know are in the [glossary](../README.md#glossary).

# %% cellView="form" jupyter={"source_hidden": true} tags=["parameters"]
# Values given by a program; nothing to do here
overrides = {}  # values given headless: {"look": {"folder": "data_samples/tissue"}}

# %% [markdown]
# ## 1. Set-up
#
# Loads the software: a few seconds. There is nothing to fill in. It went well when a line appears that begins with
# *Ready*.

# %% cellView="form" jupyter={"source_hidden": true}
# Load the software
import sys
from pathlib import Path

places = [Path(globals().get("SOFTWARE", Path.cwd())), *Path.cwd().parents, Path.cwd() / "nocodedl4bio"]
ROOT = next((folder for folder in places if (folder / "utils" / "paths.py").is_file()), None)
if ROOT is None:
    raise SystemExit("The software is not here: open the page in its folder.")
sys.path.insert(0, str(ROOT))
from utils import runtime

runtime.prepare()
from traitlets import Unicode

from utils import forms
from utils.forms import Form
from utils.pages.notes import note

forms.notebook("start_here")
note(f"Ready. {runtime.describe()}")

# %% [markdown]
# ## 2. Choose your folder
#
# Press *Choose ...*, go to the folder and press *Use this folder*. The list *Go to ...* offers the folders that you
# chose last, your desktop, your disks and the samples that come with this project; a path can be typed or pasted, too.
# The folder may hold:
#
# - images alone, to see what can be found in them with a model that is there;
# - a sub-folder `images` and a sub-folder `masks` in which what you look for is drawn, to train a model to find it;
# - a sub-folder for each class, with images of single cells, to train a model to tell the classes apart;
# - several experiments, a trained model, or anything else: the page says what it is.
#
# It went well when no field is marked in red.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your folder
class Look(Form):
    is_kept = False  # it is no setting of a training
    folder = Unicode("", help="folder of your images, with what was drawn or sorted; empty = none yet").tag(path=True)


look = Look(**overrides.get("look", {}))
look

# %% [markdown]
# ## 3. What lies in it, and which page fits
#
# Follows from the folder by itself; there is nothing to fill in. Only some of the images are opened, so that it is
# quick. It went well when the number of images is right, and when what is drawn in green, if there is any, follows what
# you would have drawn.

# %% cellView="form" jupyter={"source_hidden": true}
# What lies in the folder
from utils.first_look import page

page.show_folder(look)

# %% [markdown]
# ## 4. What is there already
#
# Models and results of earlier work, and what comes with the project; there is nothing to fill in. A click on a model
# opens its report, a click on a folder shows it in the list of files on the left; run this section again to see what is
# new. To try something out, choose one of the samples in section 2. It went well when tables appear below.

# %% cellView="form" jupyter={"source_hidden": true}
# Models, results, samples
page.show_shelf()
