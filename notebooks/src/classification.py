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
# # Classification: which phase of mitosis is it?
#
# Train a neural network to say what a whole small image shows, for example in which phase of division a cell is. You
# give images sorted into [classes](../README.md#glossary). You get a trained model, an honest score, and the class of
# new images, or of every object of a segmented image.
#
# **How to use this page.** Click on the heading *3.2*, choose *Run > Run All Above Selected Cell* (Colab: *Runtime >
# Run before*), and fill in the forms of 3.1. Then choose *Run > Run Selected Cell and All Below* (Colab: *Run cell and
# below*). JupyterLab jumps to the end of the page: a box in its corner says how far the training is, and leads there
# when you click on it. A red box says what to do; cells below it name the section that they wait for. With nothing
# filled in, everything runs on small sample images that come with it. Words that you do not know are in the
# [glossary](../README.md#glossary).
#
# **You already have a trained model?** Section 6 alone will do: click on its heading and choose *Run > Run Selected
# Cell and All Below* (Colab: run sections 1, 2 and 6).
#
# The example follows CellCognition: Held et al., 2010, [doi:10.1038/nmeth.1486](https://doi.org/10.1038/nmeth.1486),
# whose mitotic phases are sorted by hand-made features (measured areas, shapes, brightness); here a network learns the
# features itself, and a [random forest](../README.md#glossary) on hand-made features helps it or decides instead.

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
from utils.forms import Automatic, FolderName, Form, GroupRule, IfTaken
from utils.images.axes import STACK_AXES
from utils.pages import cells
from utils.pages.notes import note
from utils.paths import resolve

forms.notebook("classification")
cells.begin("classification")
note(f"Ready: {', '.join(f'{name} {number}' for name, number in runtime.versions().items())}")

# %% [markdown]
# ## 2. Runtime and data folder
#
# Says which processor is used and where files are looked for: a path such as `data_samples/mitosis/train` is taken from
# the folder shown here; a full path works too. There is nothing to fill in. **In Colab** the page now asks for access
# to your Google Drive: allow it, and models and results are kept there; without it Colab deletes them when the session
# ends. It went well when the folder of the project and the sample images are listed below.

# %% cellView="form" jupyter={"source_hidden": true}
# Processor and folders
# %run_section_1_first
note(runtime.describe())
note(storage.prepare())
note(samples.descriptions(["mitosis", "mitosis_new_marker"]))

# %% [markdown]
# ## 3. Data and parameters
#
# What the model learns from, and how. Fill in the forms of 3.1; then look at your data (3.2) and at how they are varied
# (3.3) before anything is trained.
#
# ### 3.1 Fill in the form
#
# **Your data**: a folder with one sub-folder for each class, or a CSV table with the columns *file*, *class* and, if
# you like, *group* (patient, slide or day: images of one group are never on both sides of the split into training and
# test). Images should show one object each, in the middle. To pick a folder press *Choose ...* beside its field. To do
# as with an earlier model press *Load the settings of a model*.
#
# **Group rule**: images of one patient, slide or day resemble each other and must stay together. Choose what your file
# names look like, or that every image stands alone; until then the report does not call the test independent.
#
# **Broad classes**: the report can also take several classes together. Write the name of the broad class, a colon and
# its classes, and a semicolon before the next: *dividing: prophase, metaphase; resting: G1, S*.
#
# **Few images** (fewer than 30, or groups): all are tested in turn, each by a model that was trained without it
# ([cross-validation](../README.md#glossary)); section 3.2 says how much longer that takes. *Test in turn*, under
# Advanced, changes it.
#
# **Training**: the [preset](../README.md#glossary) says how much time may be spent; it stands at the one that suits
# this computer. *Try out* takes a minute or two and shows how everything works, but its result is no result. *Quick on
# a CPU* gives a good model in minutes, whatever the number of images. *Default* takes longer and is meant for a
# graphics card. Fields that say *automatic* are chosen from your images: leave them, and once the images are read (3.2)
# the value and the reason stand beside each of them. Whatever else you write there is used instead.
#
# It went well when no field is marked in red and the path below each folder of your data says *(found)*.


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class AdvancedData(Form):
    axes = Enum(
        ["automatic", "YX", "YXC", "CYX"], help="leave at automatic; order of height Y, width X, channels C"
    ).tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as the files say").tag(advanced=True)
    data_origin = Unicode("", help="whose images, or a DOI; empty = not said").tag(advanced=True, of="training_source")
    data_licence = Unicode("", help="licence of the images; empty = not said").tag(advanced=True, of="training_source")
    model_path = Unicode(
        "models", help="folder that models are kept in; leave at models unless you keep them elsewhere"
    ).tag(path=True, advanced=True)
    test_in_turn = Automatic(
        Bool(), help="few images: test on all of them in turn, by 5 more trainings; automatic: fewer than 30"
    ).tag(advanced=True)
    if_model_exists = IfTaken(help="if a model of this name was made with other data or settings").tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your data
# %run_section_1_first
class Data(AdvancedData):
    training_source = Unicode(
        "data_samples/mitosis/train",
        help="folder with a sub-folder for each class, or a CSV file; 20 images or more of each class",
    ).tag(path="folder or file")
    group_rule = GroupRule(help="which images belong together: one patient, slide or day").tag(of="training_source")
    class_groups = Unicode("", help="classes also reported as one, such as dividing: prophase, metaphase; empty = none")
    label_review = Unicode("", help="CSV with corrected classes, written in 3.2; empty = none").tag(path="file")
    model_name = FolderName("my_classifier", help="name of the model; a folder of this name is made")
    starting_model = Unicode("", help="an earlier model to go on from (3.4); empty = from scratch").tag(
        path="folder or file"
    )
    percentage_test = Int(20, min=0, max=80, help="% of images kept aside for section 5; 10 to 30 (not for a sample)")
    percentage_validation = Automatic(
        Int(10, min=1, max=80), help="% of the rest that watches over the training; 10 to 25, more of few images"
    )


data = Data(**overrides.get("data", {}))
data


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class Advanced(Form):
    learning_rate_schedule = Enum(
        ["reduce on plateau", "constant", "cosine"],
        help="learning steps shrink as progress stops (reduce on plateau), steadily (cosine), never (constant)",
    ).tag(advanced=True)
    patience = Int(
        20, min=0, max=1000, help="epochs without progress before the training stops by itself; 20 to 50, 0 = never"
    ).tag(advanced=True)
    decides = Enum(
        ["automatic", "network", "forest", "both"],
        help="who names the class: network, random forest on measured features, or both; automatic = what fits",
    ).tag(advanced=True)
    filters = Int(16, min=4, max=128, help="width of the small CNN; 16 to 32").tag(advanced=True)
    seed = Int(
        0, min=0, max=10**6, help="start of the random draws; leave at 0, or try 1, 2, ... to see what chance does"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# More of them, which are best left to the data
# %run_section_1_first
class Network(Advanced):
    normalisation = Automatic(
        Enum(["each image", "all images together", "both"]),
        help="together: if brightness tells classes apart, and lamp and exposure were the same; both: if in doubt",
    ).tag(advanced=True)
    half_resolution = Automatic(
        Bool(), help="the small CNN looks at coarser pixels: 3 times faster; no for details of a few pixels"
    ).tag(advanced=True)
    levels = Automatic(Int(4, min=2, max=6), help="how often the small CNN looks at a coarser scale; 3 to 5").tag(
        advanced=True
    )
    fit = Automatic(
        Enum(["pad", "resize"]), help="pad: cells keep their size, right where size matters; resize: stretches"
    ).tag(advanced=True)
    patch_height = Automatic(Int(64, min=1, max=1024), help="pixels that every image is brought to").tag(advanced=True)
    patch_width = Automatic(Int(64, min=1, max=1024), help="pixels that every image is brought to").tag(advanced=True)
    class_weights = Automatic(
        Enum(["balanced", "square root", "none"]),
        help="balanced: a rare class counts as much as a frequent one; none: as often as it occurs",
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: training
# %run_section_1_first
class Training(Network):
    quick = {"learning_rate_schedule": "cosine", "patience": 0}
    presets = {"Quick on a CPU": quick, "Try out": quick}
    preset = Enum(
        ["Default", "Quick on a CPU", "Try out"], help="fills the fields below; Default is slow without a graphics card"
    ).tag(by_machine=True)
    network = Enum(
        ["small CNN", "MobileNetV2", "EfficientNetB0", "ResNet50"],
        help="small CNN for crops of 24 to 128 pixels; the others know photographs, are large, and are downloaded",
    )
    time_for_training = Automatic(
        Float(5, min=0.1, max=10000), help="[minutes] bounds the rounds of training; automatic: as the preset says"
    )
    number_of_epochs = Automatic(
        Int(100, min=1, max=5000), help="rounds of training; more give a better model and take longer"
    )
    number_of_steps = Automatic(Int(0, min=0, max=100000), help="batches per epoch; 0 = every image once")
    batch_size = Automatic(Int(16, min=1, max=512), help="images looked at together; 16 to 64, less if memory runs out")
    initial_learning_rate = Automatic(Float(1e-3, min=1e-7, max=1.0), help="size of learning steps; 0.0003 to 0.005")


training = Training(**overrides.get("training", {}))
training

# %% [markdown]
# ### 3.2 Look at the data
#
# Counts and shows the images of each class, and names every problem with its file and what to do. Nothing is to be
# filled in. Most failures of deep learning come from the data: **too little** of a class, **uneven** images (one day or
# patient looks different), or **wrong labels**. The table *What the images are like* is what automatic fields follow
# from; their values now stand in the forms above. It went well when each class below looks like what you mean by it,
# and no class has only a handful of images.

# %% cellView="form" jupyter={"source_hidden": true}
# Read and show the data
# %run_the_cells_above_first
from IPython.display import display

runtime.start()
from utils.exchange.package_task import unpack_start
from utils.pages.figures import show
from utils.pages.page import live, show_figures, show_tables
from utils.tasks import page
from utils.tasks.classes.task import Classification

task = Classification()
unpack_start(data)
given = overrides.get("evaluation", {})
project = page.open_project(task, data.asked(), training.seed, training.preset, given)
test = task.sample_test_set(project, data.training_source)
page.settle(task, project, data, training)
page.show_project(task, project, training.values(), test)

# %% [markdown]
# **Problems found, uneven images, near-duplicates.** Empty tables are good news. An image or group named as *uneven* is
# not wrong, but look at it: another exposure, focus or background than the rest? A *duplicate* across training and
# test makes the score too good.

# %% cellView="form" jupyter={"source_hidden": true}
# Problems, uneven images, duplicates
# %run_the_cells_above_first
checks = task.checks(project, training.values(), test)
show_tables(checks.tables, counted=True, most=20)

# %% [markdown]
# **Suspected wrong labels.** Press the button to let networks that have not seen an image say what it shows, and list
# the images where they disagree with its label. This takes up to three minutes. Look at the pictures; correct the
# class in the CSV file that is written (or write `remove`), name that file in the field *Label review* above, and run
# the page again from there.

# %% cellView="form" jupyter={"source_hidden": true}
# Suspected wrong labels
# %run_the_cells_above_first
from utils.tasks.classes.wrong_labels import button

button(task, project, training.values(), resolve(f"results/classification/{data.model_name}_labels.csv"))

# %% [markdown]
# ### 3.3 Augmentation
#
# Every time an image is used it is changed a little ([augmentation](../README.md#glossary)), so that the network does
# not learn the few images by heart. Choose only changes that could happen at your microscope; leave the others
# to the data. Below, the upper pictures are as they are, the lower ones as changed; they are drawn anew when you change
# a value. It went well when the lower pictures could have come from your microscope, too.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: augmentation
# %run_the_cells_above_first
class Augmentation(Form):
    flip = Automatic(Bool(), help="mirror; no only if left and right differ in your images")
    rotate_90 = Automatic(Bool(), help="quarter turns; no only if up and down differ in your images")
    rotation = Automatic(
        Int(180, min=0, max=180), help="free rotation to either side in degrees; 180 for cells, 0 = off"
    )
    shift = Automatic(
        Int(5, min=0, max=50), help="shift by up to this % of the size; 0 = off, 5 to 15 if cells are off-centre"
    )
    zoom = Automatic(
        Int(10, min=0, max=100), help="larger or smaller by up to this %; 5 to 20, 0 where size tells classes apart"
    )
    intensity = Automatic(
        Int(20, min=0, max=90),
        help="contrast and brightness by up to this %; 10 to 40, 0 to 5 where they tell classes apart",
    )
    blur = Float(0, min=0, max=5, help="blur by up to this many pixels; 0 = off, 1 if focus varies").tag(advanced=True)
    noise = Int(0, min=0, max=50, help="noise of up to this % of the intensity range; 0 = off, 2 to 10")


augmentation = Augmentation(**overrides.get("augmentation", {}))
page.settle(task, project, data, training, augmentation)
display(augmentation)
live(augmentation, lambda: task.augmentation_preview(project, training.values(), augmentation.values()))

# %% [markdown]
# ### 3.4 Start from a trained model
#
# Only if you named a model in the field *Starting model* of the first form: the training then starts from the
# [weights](../README.md#glossary) of that model, which needs fewer images and less time. Channels, classes and network
# must be the same; if not, it is said here, and nothing is trained. It went well when the sentence below names the
# model that you meant, or says that the training starts from scratch.

# %% cellView="form" jupyter={"source_hidden": true}
# Where the training starts
# %run_the_cells_above_first
beginning = task.starting_note(project, data.values(), training.values())
note(beginning)

# %% [markdown]
# ## 4. Train
#
# The network learns from your images; there is nothing to fill in. A bar shows the remaining time; the curve is redrawn
# while the training runs. It goes well when both [losses](../README.md#glossary) fall and then level out. If the
# [validation](../README.md#glossary) loss rises again while the training loss falls, the network learns by heart
# ([overfitting](../README.md#glossary)): use more images or more augmentation; the best weights are kept, of the
# schedule *cosine* the last.
#
# You may **stop** with the stop button (square) and run the cell again to go on. After a crash of the computer or a
# restart, run the page down to the first form: it offers to *Go on with* the training that was stopped, and fills in
# all forms; then run the cells below it. **You closed the browser meanwhile?** The training went on: run this cell and
# sections 5 and 6 again, each by itself, and everything is shown again.

# %% cellView="form" jupyter={"source_hidden": true}
# Train
# %run_the_cells_above_first beginning
from utils.training.progress import with_progress

trained = project.folder
forms.save_settings(data, augmentation, training)
note(with_progress(task.train, project, forms.parameters(data, augmentation, training)), project.folder)
page.show_trials(project)

# %% [markdown]
# ## 5. Evaluate
#
# How good is the model on images that it has never seen? Leave *Test source* empty to use the images set aside (or the
# test images of the sample). [Balanced accuracy](../README.md#glossary) is the share of each class that is named
# rightly, averaged over the classes: guessing gives 1 / number of classes, 1 is perfect. A [random
# forest](../README.md#glossary), an older and simpler method on hand-made features, learns from the same images; the
# validation images say whether network, forest or both together are *the model*. That is scored, and beside it each of
# the two alone. It went well when no warning stands below the score and the mistakes below are such as a colleague
# could make, too.
#
# **Few images** were all tested in turn, before your model was trained: *Test source* may stay empty, and the text
# below the score says whose score it is.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: test images
# %run_section_1_first
class Evaluation(Form):
    test_source = Unicode(
        "", help="folder with a sub-folder for each class, or a CSV file; empty = images set aside"
    ).tag(path="folder or file")
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("classification",)
    )
    images_to_explain = Unicode("", help="file names, separated by commas, for the heat maps; empty = one per class")


evaluation = Evaluation(**overrides.get("evaluation", {}))
evaluation

# %% cellView="form" jupyter={"source_hidden": true}
# Score the model
# %run_the_cells_above_first
from utils.tasks.held_out import evaluate, find_test_set

model_folder = resolve(evaluation.model_folder) if evaluation.model_folder else trained
test_set = find_test_set(task, model_folder, evaluation.test_source)
learned = project.examples("training") if model_folder == project.folder else ()
result = evaluate(task, model_folder, test_set, training=learned)
page.show_scores(task, result, model_folder)

# %% [markdown]
# **The errors**: which classes are mixed up ([confusion matrix](../README.md#glossary)), the mistakes of which the
# model was most sure, whether its probabilities can be believed ([calibration](../README.md#glossary)), and the network
# beside the random forest.

# %% cellView="form" jupyter={"source_hidden": true}
# Show the errors
# %run_the_cells_above_first
show_figures(task.evaluation_figures(result))

# %% [markdown]
# **What does the model look at?** The heat map (Grad-CAM) shows which part of an image speaks for the class that the
# model gave it. It should lie on the cell, not on its surroundings or a border.

# %% cellView="form" jupyter={"source_hidden": true}
# Show what the model looks at, write the report
# %run_the_cells_above_first
chosen = [name.strip() for name in evaluation.images_to_explain.split(",") if name.strip()]
show(task.looked_at(result, chosen))
page.conclude(task, result, model_folder, project, checks)

# %% [markdown]
# ## 6. Predict on new images
#
# **Images of single cells**: fill in *Data folder* and leave *Label folder* empty. You get `predictions.csv` with the
# class of each image, a picture of each class, `class_counts.csv` with the number and share of each class, and
# `review.csv` with the most uncertain images first. *Uncertain* is an image whose likeliest class has a probability
# below 0.5, or leads the second by less than 0.1.
#
# **Objects of a segmented image**: name the folder of images and the folder of their [label
# images](../README.md#glossary), such as the result folder of the StarDist notebook. Each object is cut out and
# classified: `object_classes.csv`, `object_class_counts.csv` (each class in each image), and pictures with the objects
# in the colours of their classes.
#
# **A time-lapse of single cells**: name a table with the columns `file`, `track` (which cell) and `frame` in *Track
# table* (under Advanced). In `classes_along_tracks.csv` the class of each image then follows from all images of its
# cell, in the order in which phases of division can follow each other, so that one odd image is mended.
#
# It went well when the pictures of each class below look alike. With a model trained earlier this section alone will do
# (Colab: sections 1, 2 and 6): *Model folder* lists the models that are there.

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

cells.run_section_1("classification", globals())


# %% cellView="form" jupyter={"source_hidden": true}
# Form: new images
# %run_section_1_first
class Prediction(Form):
    data_folder = Unicode("", help="folder of images; empty = the images of the sample, or of 3.1").tag(path=True)
    label_folder = Unicode("", help="label images of these images, to classify each object; empty = whole images").tag(
        path=True
    )
    result_folder = Unicode("", help="folder for the results; empty = one for each model and folder").tag(path=True)
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("classification",)
    )
    axes = Enum(
        list(STACK_AXES), help="leave at automatic; order of time T, depth Z, height Y, width X and channels C"
    ).tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as the files say").tag(advanced=True)
    qupath = Enum(
        ["automatic", "yes", "no"], help="outlines for QuPath; automatic = of images whose pixel size is known"
    ).tag(advanced=True)
    track_table = Unicode("", help="CSV with file, track, frame of a time-lapse; empty = each image alone").tag(
        path="file", advanced=True
    )


prediction = Prediction(**overrides.get("prediction", {}))
prediction

# %% cellView="form" jupyter={"source_hidden": true}
# Predict
# %run_section_1_first
from utils.tasks.choices import choose

made = (trained, data.training_source) if "trained" in globals() else (None, None)
chosen = choose(prediction.values(), "classification", *made)
runtime.start()
from utils.tasks import page
from utils.tasks.classes.task import Classification

given = {"axes": prediction.axes, "pixel_size": prediction.pixel_size, "qupath": prediction.qupath}
tracks = resolve(prediction.track_table) if prediction.track_table else None
page.show_prediction(Classification(), chosen, labels=chosen.labels, tracks=tracks, **given)

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
        path=True, models=("classification",)
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
