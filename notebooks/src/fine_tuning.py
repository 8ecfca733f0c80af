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
# # Fine-tuning: how many images are required?
#
# You have a trained model, and new images: of other cells, with another marker, from another microscope, or with
# another question. Retrain the model lightly on a few of them ([fine-tuning](../README.md#glossary)). You get a
# fine-tuned model, its score beside that of the unchanged model and of one trained [from
# scratch](../README.md#glossary), and a [learning curve](../README.md#glossary) that answers how many images you need.
#
# **How to use this page.** Click on the heading *3.2*, choose *Run > Run All Above Selected Cell* (Colab: *Runtime >
# Run before*), and fill in the forms of 3.1. Then choose *Run > Run Selected Cell and All Below* (Colab: *Run cell and
# below*). JupyterLab jumps to the end of the page: a box in its corner says how far the training is, and leads there
# when you click on it. A red box says what to do; cells below it name the section that they wait for. With nothing
# filled in, a classifier of the phases of mitosis is trained first, and then fine-tuned to another marker and another
# question: is the cell in G2 or not? Words that you do not know are in the [glossary](../README.md#glossary).
#
# **You already have a fine-tuned model?** Section 6 alone will do: click on its heading and choose *Run > Run Selected
# Cell and All Below* (Colab: run sections 1, 2 and 6). Or use the notebook of its task.

# %% cellView="form" jupyter={"source_hidden": true} tags=["parameters"]
# Values given by a program; nothing to do here
overrides = {}  # values given headless: {"training": {"number_of_epochs": 20}}

# %% [markdown]
# ## 1. Set-up
#
# Loads the software and installs what is missing: a few seconds, on Colab a minute or two the first time. There is
# nothing to fill in. It went well when a line appears that begins with *Ready*.

# %% cellView="form" jupyter={"source_hidden": true}
# Load the software
import sys
from pathlib import Path

places = [Path(globals().get("SOFTWARE", Path.cwd())), *Path.cwd().parents, Path.cwd() / "nocodedl4bio"]
ROOT = next((folder for folder in places if (folder / "utils" / "paths.py").is_file()), None)
if ROOT is None:
    raise SystemExit("The software is not here: run the cells under Software first, or open the page in its folder.")
sys.path.insert(0, str(ROOT))
from utils import runtime

runtime.prepare()
from traitlets import Bool, Enum, Float, Int, Unicode

from utils import forms, samples, storage
from utils.exchange.targets import reasons
from utils.forms import FolderName, Form, GroupRule, IfTaken, Sizes
from utils.pages import cells
from utils.pages.notes import note
from utils.paths import resolve

forms.notebook("fine_tuning")
cells.begin("fine_tuning")
note(f"Ready: {', '.join(f'{name} {number}' for name, number in runtime.versions().items())}")

# %% [markdown]
# ## 2. Runtime and data folder
#
# Says which processor is used and where files are looked for: a path such as `data_samples/tissue` is taken from the
# folder shown here; a full path works too. There is nothing to fill in. **In Colab** the page now asks for access to
# your Google Drive: allow it, and models and results are kept there; without it Colab deletes them when the session
# ends. It went well when the folder of the project and the sample images are listed below.

# %% cellView="form" jupyter={"source_hidden": true}
# Processor and folders
# %run_section_1_first
note(runtime.describe())
note(storage.prepare())
note(samples.descriptions(["mitosis", "mitosis_new_marker", "tissue", "tissue_new_stain", "nuclei", "nuclei_real"]))

# %% [markdown]
# ## 3. Data and parameters
#
# Which model is retrained, on which images, and how. Fill in the forms of 3.1; then look at the model and your data
# (3.2), at how they are varied (3.3), and at how good the model is as it is (3.4).
#
# ### 3.1 Fill in the forms
#
# **Model and data.** *Starting model* is a [model folder](../README.md#glossary) of any of the other notebooks; what
# kind of model it is, is seen by itself. Your new images and their annotation are laid out as in the notebook of that
# kind: for a classifier one folder with a sub-folder for each class; for U-Net and StarDist one folder of images and
# one of masks with the same file names. The number of channels must be that of the starting model; the classes may be
# others. To pick a folder press *Choose ...* beside its field; a folder of masks beside it (`images` and `masks`, for
# example) is filled in by itself. To do as with an earlier model press *Load the settings of a model*.
#
# **Group rule**: images of one patient, slide or day resemble each other and must stay together. Choose what your file
# names look like, or that every image stands alone; until then the report does not call the test independent.
#
# It went well when no field is marked in red and the path below each folder of your data says *(found)*.


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class AdvancedData(Form):
    mask_type = Enum(
        ["automatic", "binary", "inverted", "soft edges", "outlines", "classes", "instance labels"],
        help="what numbers in masks mean; leave at automatic",
    ).tag(advanced=True)
    ignore_value = Unicode("", help="number in masks of what is not to count, such as 255; empty = none").tag(
        advanced=True
    )
    class_names = Unicode("", help="names of mask values; empty = those of the starting model").tag(advanced=True)
    class_groups = Unicode("", help="classes also reported as one, dividing: prophase, metaphase; empty = none").tag(
        advanced=True
    )
    class_table = Unicode("", help="CSV with the class of each object (StarDist only)").tag(path="file", advanced=True)
    label_review = Unicode("", help="CSV with corrected classes (classifier only)").tag(path="file", advanced=True)
    axes = Enum(
        ["automatic", "YX", "YXC", "CYX"], help="leave at automatic; order of height Y, width X, channels C"
    ).tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as the files say").tag(advanced=True)
    data_origin = Unicode("", help="whose images, or a DOI; empty = not said").tag(advanced=True, of="training_source")
    data_licence = Unicode("", help="licence of the images; empty = not said").tag(advanced=True, of="training_source")
    model_path = Unicode(
        "models", help="folder that models are kept in; leave at models unless you keep them elsewhere"
    ).tag(path=True, advanced=True)
    if_model_exists = IfTaken(help="if a model of this name was made with other data or settings").tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your data
# %run_section_1_first
class Data(AdvancedData):
    starting_model = Unicode(
        "", help="folder of a model, or a StarDist model such as 2D_versatile_fluo; empty = an example"
    ).tag(path="folder or file", names=("2D_versatile_fluo", "2D_versatile_he", "2D_paper_dsb2018", "2D_demo"))
    training_source = Unicode(
        "data_samples/mitosis_new_marker/train",
        help="folder of the new images; for a classifier with a sub-folder for each class",
    ).tag(path="folder or file")
    training_target = Unicode("", help="folder of their masks, found by itself; only for U-Net and StarDist").tag(
        path=True, beside="training_source"
    )
    group_rule = GroupRule(help="which images belong together: one patient, slide or day").tag(of="training_source")
    model_name = FolderName("my_fine_tuned_model", help="name of the model; a folder of this name is made")
    percentage_test = Int(
        20, min=0, max=80, help="% of images kept aside to score the models; 10 to 30 (a sample has its own)"
    )
    percentage_validation = Int(10, min=1, max=80, help="% of the rest that watches over the training; 10 to 20")


data = Data(**overrides.get("data", {}))
data

# %% [markdown]
# **Strategy.** How much of the old model may change.
#
# - *two stages*: first only the last layer learns, then everything, in much smaller steps. Right for most: what was
#   learned from many images is kept.
# - *last layer*: only the last layer learns, everything before it stays as it is. Fast, and safest with a handful of
#   images.
# - *everything*: the whole network learns at once, in small steps. For many new images, or images that look very
#   different.
# - *from scratch*: nothing is taken over, learning begins with random numbers. Only to see what fine-tuning is worth.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: strategy
# %run_section_1_first
class Strategy(Form):
    strategy = Enum(
        ["two stages", "last layer", "everything", "from scratch"],
        help="two stages is right for most; last layer for a handful of images",
    )


strategy = Strategy(**overrides.get("strategy", {}))
strategy

# %% [markdown]
# **Training.** The [preset](../README.md#glossary) stands at the one that suits this computer. *Try out* shows in two
# minutes how everything works, but its result is no result. *Quick on a CPU* gives a good model and curve in minutes
# for small images. *Default* takes longer and is meant for a graphics card. Network, patches and normalisation are
# those of the starting model.


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class Advanced(Form):
    learning_rate_schedule = Enum(
        ["cosine", "constant", "reduce on plateau"],
        help="learning steps shrink as progress stops (reduce on plateau), steadily (cosine), never (constant)",
    ).tag(advanced=True)
    patience = Int(
        0, min=0, max=1000, help="epochs without progress before the training stops by itself; 0 = never, 5 to 20"
    ).tag(advanced=True)
    patch_height = Int(0, min=0, max=4096, help="pixels; leave at 0 = as for the starting model").tag(advanced=True)
    patch_width = Int(0, min=0, max=4096, help="pixels; leave at 0 = as for the starting model").tag(advanced=True)
    seed = Int(
        0, min=0, max=10**6, help="start of the random draws; leave at 0, or try 1, 2, ... to see what chance does"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: training
# %run_section_1_first
class Training(Advanced):
    presets = {"Quick on a CPU": {"number_of_epochs": 6}, "Try out": {"number_of_epochs": 2}}
    preset = Enum(
        ["Default", "Quick on a CPU", "Try out"], help="fills the fields below; Default is slow without a graphics card"
    ).tag(by_machine=True)
    number_of_epochs = Int(30, min=1, max=5000, help="rounds of training; 5 to 50")
    number_of_steps = Int(0, min=0, max=100000, help="batches per epoch; leave at 0 = as many as the images ask for")
    batch_size = Int(
        0, min=0, max=512, help="images or patches looked at together; leave at 0 = as for the starting model"
    )
    initial_learning_rate = Float(
        0.01, min=1e-7, max=1.0, help="size of the learning steps of a new layer; 0.003 to 0.03"
    )
    slower = Float(10, min=1, max=1000, help="layers taken over learn in steps so many times smaller; 10 to 100")


training = Training(**overrides.get("training", {}))
training

# %% [markdown]
# **Learning curve.** Models are trained on few, then on more of your annotated images, each size several times with
# other images. *Sizes* are images of each class for a classifier, images in all for U-Net and StarDist; *automatic*
# takes those that your images suffice for. Leave the field empty if you need no curve, which takes most of the time.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: learning curve
# %run_section_1_first
class Curve(Form):
    sizes = Sizes(
        "automatic", help="numbers of annotated images, such as 2, 5, 10; automatic = what fits; empty = none"
    )
    repeats = Int(3, min=1, max=20, help="models of each size; 3 to 5 show how much depends on chance")
    target_score = Float(
        0.9, min=0.01, max=1, help="the score that you need: how many images does it take? Usually 0.8 to 0.95"
    )


curve = Curve(**overrides.get("curve", {}))
curve

# %% [markdown]
# **Test images.** Every model is scored on the same images, which no model may have seen. Leave the fields empty to
# use the images set aside above (or the test images of the sample).


# %% cellView="form" jupyter={"source_hidden": true}
# Form: test images
# %run_section_1_first
class Evaluation(Form):
    test_source = Unicode("", help="folder of new test images; empty = images set aside").tag(path=True)
    test_target = Unicode("", help="folder of their masks, found by itself; only for U-Net and StarDist").tag(
        path=True, beside="test_source"
    )


evaluation = Evaluation(**overrides.get("evaluation", {}))
evaluation

# %% [markdown]
# ### 3.2 Look at the model and the data
#
# Reads the starting model and the new images. Nothing is to be filled in. It went well when the sentences below
# describe what you meant, and the pictures show your annotation. Without a starting model an example is trained first,
# on the sample *mitosis* with the preset "Try out"; it is kept in the folder of models and used again the next time.

# %% cellView="form" jupyter={"source_hidden": true}
# Read and show the data
# %run_the_cells_above_first
from IPython.display import Markdown, display

runtime.start()
from utils.exchange.package_task import unpack_start
from utils.fine_tuning import page as words
from utils.fine_tuning.comparison import before_training
from utils.fine_tuning.curve import run_curve, sizes_of
from utils.fine_tuning.start import example_model, open_start
from utils.fine_tuning.tuning import open_tuning, train_from_scratch, tune, with_parameters
from utils.pages.figures import show
from utils.pages.page import live, show_figures, show_tables, tidy
from utils.tasks import page, report
from utils.training.progress import with_progress

starting_model = unpack_start(data)
if not starting_model:
    note("No starting model was given: an example is used, a classifier of the phases of mitosis (preset Try out).")
    starting_model = str(with_progress(example_model, data.model_path))
tuning = open_tuning(*open_start(starting_model), forms.parameters(data, strategy, training, curve, evaluation))
project, task = tuning.project, tuning.task
sizes = sizes_of(tuning, curve.values())
words.settle_sizes(tuning, curve)
display(Markdown(words.source_note(tuning)), Markdown(words.data_note(tuning)))
show(task.show_data(project))

# %% [markdown]
# **Problems found, uneven images, duplicates.** Empty tables are good news. An image named as *uneven* is not wrong,
# but look at it: another exposure, focus or magnification than the rest? A *duplicate* across training and test makes
# the score too good.

# %% cellView="form" jupyter={"source_hidden": true}
# Problems, uneven images, duplicates
# %run_the_cells_above_first
checks = task.checks(project, tuning.settings, tuning.test_set)
checks = page.with_lookalikes(checks, task, project, tuning.test_set)
show_tables(checks.tables, counted=True, most=20)

# %% [markdown]
# ### 3.3 Augmentation
#
# Every time an image is used it is changed a little ([augmentation](../README.md#glossary)), so that the network does
# not learn the few images by heart. Choose only changes that could happen at your microscope; the values shown suit
# most images. Below, the upper pictures are as they are, the lower ones as changed; they are drawn anew when you change
# a value. It went well when the lower pictures could have come from your microscope, too.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: augmentation
# %run_the_cells_above_first
class Augmentation(Form):
    flip = Bool(True, help="mirror; off only if left and right differ in your images")
    rotate_90 = Bool(True, help="quarter turns; off only if up and down differ in your images")
    rotation = Int(
        45, min=0, max=180, help="free rotation to either side in degrees; 45 to 180 for few images, 0 = off"
    )
    shift = Int(
        5, min=0, max=50, help="shift by up to this % of the size (classifier); 5 to 15 if cells are off-centre"
    )
    zoom = Int(10, min=0, max=100, help="larger or smaller by up to this %; 5 to 20, 0 where size tells classes apart")
    intensity = Int(20, min=0, max=90, help="contrast and brightness by up to this %; 10 to 40, 0 = off")
    blur = Float(0, min=0, max=5, help="blur by up to this many pixels; 0 = off, 1 if focus varies").tag(advanced=True)
    noise = Int(0, min=0, max=50, help="noise of up to this % of the intensity range; 0 = off, 2 to 10")
    stain = Int(20, min=0, max=50, help="strength of each stain by up to this %; 10 to 30, only used for colour images")


augmentation = Augmentation(**overrides.get("augmentation", {}))
display(augmentation)
live(augmentation, lambda: task.augmentation_preview(project, tuning.settings, augmentation.values()))

# %% [markdown]
# ### 3.4 How good is the model, unchanged?
#
# Before anything is trained: the score of the starting model on its own old test images beside that on the new ones.
# Nothing is to be filled in. A model may fail for three reasons: the images are of **another origin** (microscope,
# patient), they show **another marker** or stain, or they are asked **another question**. If the unchanged model is as
# good on the new images as on the old ones, you need no retraining.

# %% cellView="form" jupyter={"source_hidden": true}
# Score of the unchanged model
# %run_the_cells_above_first
before = before_training(tuning)
display(Markdown(words.generalisation(tuning, before)))

# %% [markdown]
# ## 4. Train
#
# Three trainings: the fine-tuning itself, the same from scratch for comparison, and the models of the learning curve.
# There is nothing to fill in. You may **stop** each with the stop button (square) and run its cell again to go on.
# After a crash of the computer or a restart, run the page down to the first form: it offers to *Go on with* the
# fine-tuning that was stopped, and fills in all forms; then run the cells below it. **You closed the browser
# meanwhile?** The training went on: run the cells of sections 4 to 6 again, and everything is shown again; no model is
# trained twice.
#
# ### 4.1 Fine-tune
#
# Retrains the starting model on your images. A bar shows the remaining time, one for each stage; the curve is redrawn
# while the training runs. It goes well when both [losses](../README.md#glossary) fall and then level out.

# %% cellView="form" jupyter={"source_hidden": true}
# Fine-tune
# %run_the_cells_above_first
trained = project.folder
parameters = forms.parameters(data, augmentation, strategy, training, curve, evaluation)
forms.save_settings(data, augmentation, strategy, training, curve, evaluation)
tuning = with_parameters(tuning, parameters)
note(with_progress(tune, tuning), project.folder)

# %% [markdown]
# ### 4.2 The same from scratch
#
# For comparison a model of the same kind starts from random numbers, with the same images and the same number of steps.
# Its [learning rate](../README.md#glossary) is the best of three on the [validation](../README.md#glossary) images. It
# went well when the cell ends without an error; a poor score here only shows what the starting model is worth.

# %% cellView="form" jupyter={"source_hidden": true}
# Train from scratch
# %run_the_cells_above_first trained
if strategy.strategy != "from scratch":
    note(with_progress(train_from_scratch, tuning))

# %% [markdown]
# ### 4.3 The learning curve: how many images are required?
#
# Each point is a model trained on so many annotated images, those that watch over its training included, and scored on
# the same test images. The line is the mean of the repeats. The dashed line is a fitted [power
# law](../README.md#glossary), its band the 95 % [interval](../README.md#glossary); dotted, it goes beyond what was
# measured: there it is a guess. It went well when the points rise from left to right and lie close to the line.
#
# The bar shows the time that is left for the whole curve. You may stop and run the cell again: models that are done are
# not trained again.

# %% cellView="form" jupyter={"source_hidden": true}
# Measure and draw the learning curve
# %run_the_cells_above_first trained
points, draw = None, words.curve_drawing(tuning, before, curve.target_score)
if sizes:
    points = run_curve(tuning, curve.values(), words.live_curve(draw))
    display(tidy(words.curve_table(points)))
    for sentence in words.images_required(tuning, points, curve.target_score):
        display(Markdown(sentence))

# %% [markdown]
# ## 5. Evaluate
#
# The unchanged, the fine-tuned and the model from scratch on the same test images; there is nothing to fill in. The
# difference of two models comes with an [interval](../README.md#glossary): if it does not hold 0, the difference is not
# chance. *Forgetting* says whether the fine-tuned model is still good at the old images. It went well when the
# fine-tuned model is better than both others, and the pictures show what you can live with.

# %% cellView="form" jupyter={"source_hidden": true}
# Compare the models
# %run_the_cells_above_first trained
from utils.fine_tuning.comparison import compare

comparison = compare(tuning, before)
display(Markdown(report.verdict(comparison.result, project.folder)))
display(tidy(words.comparison_table(comparison)))
display(Markdown(words.comparison_verdict(comparison)))
display(Markdown(words.forgetting(comparison)))

# %% [markdown]
# **Before and after.** The same test images with the errors of each model, the hardest first.

# %% cellView="form" jupyter={"source_hidden": true}
# Show the errors, write the report
# %run_the_cells_above_first
pictures = task.show_errors(comparison.predictors, tuning.test_set, tuning.classes)
show_figures(pictures)
more = words.more_for_report(comparison, points, draw) | pictures
page.show_report(report.write(task, project.folder, comparison.result, checks.warnings, more))

# %% [markdown]
# ## 6. Predict on new images
#
# Works on every image of a folder, as section 6 of the notebook of the model's task does, which has more choices. Fill
# in *Data folder*, the folder of your new images. For a classifier you get `predictions.csv` and a picture of each
# class, for a U-Net masks and areas, for StarDist label images, outlines for Fiji, and a table of all objects. It went
# well when the pictures below show what you would have said yourself.
#
# With a model trained earlier this section alone will do (Colab: sections 1, 2 and 6): *Model folder* lists the models
# that are there.

# %% cellView="form" jupyter={"source_hidden": true}
# Load the software, where it was not loaded yet
import sys
from pathlib import Path

places = [Path(globals().get("SOFTWARE", Path.cwd())), *Path.cwd().parents, Path.cwd() / "nocodedl4bio"]
ROOT = next((folder for folder in places if (folder / "utils" / "paths.py").is_file()), None)
if ROOT is None:
    raise SystemExit("The software is not here: run the cells under Software first, or open the page in its folder.")
sys.path.insert(0, str(ROOT))
from utils.pages import cells

cells.run_section_1("fine_tuning", globals())


# %% cellView="form" jupyter={"source_hidden": true}
# Form: new images
# %run_section_1_first
class Prediction(Form):
    data_folder = Unicode("", help="folder of images; empty = the images of the sample, or of 3.1").tag(path=True)
    result_folder = Unicode("", help="folder for the results; empty = one for each model and folder").tag(path=True)
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("unet", "stardist", "classification")
    )


prediction = Prediction(**overrides.get("prediction", {}))
prediction

# %% cellView="form" jupyter={"source_hidden": true}
# Predict
# %run_section_1_first
from utils.tasks.choices import choose

made = (trained, data.training_source) if "trained" in globals() else (None, None)
chosen = choose(prediction.values(), "fine_tuning", *made)
runtime.start()
from utils.tasks import page
from utils.tasks.registry import read_task

page.show_prediction(read_task(chosen.model)[0], chosen)

# %% [markdown]
# ## 7. Export
#
# Other programs can use your model, too. Choose in the form what you need; without a tick nothing is written. What your
# kind of model cannot become is grey, with the reason. Each export is opened with another program's reader and compared
# with this notebook on your test images. It went well when a folder is named below; it lies in that of the model under
# `export`, with a README that says how to open the files.
#
# With a model trained earlier, run sections 1, 2 and 7: *Model folder* lists the models that are there.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: other programs
# %run_section_1_first
class Export(Form):
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("unet", "stardist", "classification")
    )
    qupath = Bool(False, help="on for QuPath").tag(of="model_folder", unless=reasons)
    fiji = Bool(False, help="on for the plugins StarDist and CSBDeep of Fiji").tag(of="model_folder", unless=reasons)
    zoo = Bool(False, help="on for the BioImage Model Zoo and deepImageJ").tag(of="model_folder", unless=reasons)
    onnx = Bool(False, help="on for any program that runs ONNX").tag(of="model_folder", unless=reasons)
    title = Unicode("", help="name of the model for others; leave empty for the one above").tag(advanced=True)
    authors = Unicode("", help="who made it; empty = nobody is named").tag(advanced=True)
    licence = Unicode("", help="what others may do with it, such as CC BY 4.0; empty = not said").tag(advanced=True)
    description = Unicode("", help="what it is for: tissue, stain, microscope; empty = not said").tag(advanced=True)
    cite = Unicode("", help="publication to cite; empty = none").tag(advanced=True)


export = Export(**overrides.get("export", {}))
export.empty_means(model_folder=globals().get("trained"))  # what it can become stands beside each tick
export

# %% cellView="form" jupyter={"source_hidden": true}
# Export
# %run_section_1_first
runtime.start()
from utils.exchange.export import show_exports

show_exports(export.values(), globals().get("trained"))
