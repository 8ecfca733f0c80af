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
# # StarDist: where are the nuclei, and how many?
#
# Train a neural network to find single round objects, such as nuclei or cells, also where they touch. You give images
# with their [label images](../README.md#glossary): pictures of the same size in which every object has a number of its
# own. You get a trained model, an honest score, and for new images the outlines, the number and the measurements of all
# objects, which open in Fiji and QuPath.
#
# **How to use this page.** Click on the heading *3.2*, choose *Run > Run All Above Selected Cell* (Colab: *Runtime >
# Run before*), and fill in the forms of 3.1. Then choose *Run > Run Selected Cell and All Below* (Colab: *Run cell and
# below*). JupyterLab jumps to the end of the page: a box in its corner says how far the training is, and leads there
# when you click on it. A red box says what to do; cells below it name the section that they wait for. With nothing
# filled in, everything runs on small sample images that come with it. Words that you do not know are in the
# [glossary](../README.md#glossary).
#
# **You already have a trained model?** Section 6 alone will do: click on its heading and choose *Run > Run Selected
# Cell and All Below* (Colab: run sections 1, 2 and 6). **Your objects are long, branched or hollow?** StarDist draws
# outlines that are seen whole from one point inside; for other shapes use the U-Net notebook.
#
# StarDist: Schmidt, Weigert, Broaddus and Myers, 2018,
# [doi:10.1007/978-3-030-00934-2_30](https://doi.org/10.1007/978-3-030-00934-2_30). Please cite it when you publish
# results.

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

forms.notebook("stardist_segmentation")
cells.begin("stardist_segmentation")
note(f"Ready: {', '.join(f'{name} {number}' for name, number in runtime.versions().items())}")

# %% [markdown]
# ## 2. Runtime and data folder
#
# Says which processor is used and where files are looked for: a path such as `data_samples/nuclei` is taken from the
# folder shown here; a full path works too. There is nothing to fill in. **In Colab** the page now asks for access to
# your Google Drive: allow it, and models and results are kept there; without it Colab deletes them when the session
# ends. It went well when the folder of the project and the sample images are listed below.

# %% cellView="form" jupyter={"source_hidden": true}
# Processor and folders
# %run_section_1_first
note(runtime.describe())
note(storage.prepare())
note(samples.descriptions(["nuclei", "nuclei_real", "nuclei_whole", "nuclei_he"]))

# %% [markdown]
# ## 3. Data and parameters
#
# What the model learns from, and how. Fill in the forms of 3.1; then look at your data (3.2) and at how they are varied
# (3.3) before anything is trained.
#
# ### 3.1 Fill in the form
#
# **Your data**: one folder of images and one folder of label images with the same file names. In a label image 0 is
# background and every object has a number of its own (1, 2, 3, ...), also where two objects touch. Fiji, QuPath,
# Napari, Cellpose and ilastik can write such images. A black-and-white mask works too, but objects that touch then
# count as one. To pick a folder press *Choose ...* beside its field; a folder of label images beside it (`images` and
# `masks`, for example) is filled in by itself. To do as with an earlier model press *Load the settings of a model*.
#
# **Group rule**: images of one patient, slide or day resemble each other and must stay together. Choose what your file
# names look like, or that every image stands alone; until then the report does not call the test independent.
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
    ignore_value = Unicode("", help="number in masks of what is not to count, such as 255; empty = none").tag(
        advanced=True
    )
    axes = Enum(
        ["automatic", "YX", "YXC", "CYX"], help="leave at automatic; order of height Y, width X, channels C"
    ).tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as the files say").tag(advanced=True)
    data_origin = Unicode("", help="whose images, or a DOI; empty = not said").tag(advanced=True, of="training_source")
    data_licence = Unicode("", help="licence of the images; empty = not said").tag(advanced=True, of="training_source")
    model_path = Unicode(
        "models", help="folder that models are kept in; leave at models unless you keep them elsewhere"
    ).tag(path=True, advanced=True)
    percentage_validation = Automatic(Int(10, min=1, max=80), help="% of the rest that watches over the training").tag(
        advanced=True
    )
    test_in_turn = Automatic(
        Bool(), help="few images: test on all of them in turn, by 5 more trainings; automatic: fewer than 30"
    ).tag(advanced=True)
    if_model_exists = IfTaken(help="if a model of this name was made with other data or settings").tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your data
# %run_section_1_first
class Data(AdvancedData):
    training_source = Unicode(
        "data_samples/nuclei/train/images",
        help="folder of training images; 10 to 20 that differ from each other are a good start",
    ).tag(path=True)
    training_target = Unicode(
        "data_samples/nuclei/train/masks",
        help="folder of their label images, with the same file names; found by itself beside the images",
    ).tag(path=True, beside="training_source")
    group_rule = GroupRule(help="which images belong together: one patient, slide or day").tag(of="training_source")
    mask_type = Enum(
        ["automatic", "instance labels", "binary", "inverted", "soft edges", "outlines"],
        help="leave at automatic unless 3.2 asks; binary: objects that touch count as one",
    )
    class_table = Unicode("", help="CSV with columns file, label, class; empty = one kind of object").tag(path="file")
    model_name = FolderName("my_stardist", help="name of the model; a folder of this name is made")
    starting_model = Unicode("automatic", help="a model to go on from, or 2D_versatile_he ... (3.4); empty = none").tag(
        path="folder or file", names=("automatic", *samples.PUBLISHED)
    )
    percentage_test = Int(20, min=0, max=80, help="% of images kept aside for section 5; 10 to 30 (not for a sample)")


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
        40, min=0, max=1000, help="epochs without progress before the training stops by itself; 20 to 50, 0 = never"
    ).tag(advanced=True)
    min_fraction = Float(
        0.02,
        min=0,
        max=1,
        help="smallest share of a patch that is covered by objects; 0 to 0.1, 0 = patches may be empty",
    ).tag(advanced=True)
    filters = Int(
        32, min=4, max=128, help="width of the network; 16 to 64, more learns finer differences but is slower"
    ).tag(advanced=True)
    batch_normalisation = Bool(False, help="steadier learning; on with a batch size of 8 and more").tag(advanced=True)
    seed = Int(
        0, min=0, max=10**6, help="start of the random draws; leave at 0, or try 1, 2, ... to see what chance does"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# More of them, which are best left to the data
# %run_section_1_first
class Network(Advanced):
    normalisation = Automatic(
        Enum(["each image", "all images together"]),
        help="range of brightness; together: if colour or brightness itself says what a pixel is",
    ).tag(advanced=True)
    n_rays = Automatic(
        Int(32, min=4, max=128), help="corners of an outline; 32 is right for most, 64 for large objects"
    ).tag(advanced=True)
    grid = Automatic(
        Enum([1, 2, 4]), help="coarseness: 1 if small objects are below 5 pixels, 4 if they are above 30, else 2"
    ).tag(advanced=True)
    patch_height = Automatic(
        Int(128, min=1, max=4096), help="pixels of the pieces that are learned from; larger than most objects"
    ).tag(advanced=True)
    patch_width = Automatic(
        Int(128, min=1, max=4096), help="pixels of the pieces that are learned from; larger than most objects"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: training
# %run_section_1_first
class Training(Network):
    quick = {"initial_learning_rate": 0.002, "learning_rate_schedule": "cosine", "patience": 0, "filters": 16}
    quick |= {"batch_normalisation": True}
    presets = {"Quick on a CPU": quick, "Try out": quick}
    preset = Enum(
        ["Default", "Quick on a CPU", "Try out"], help="fills the fields below; Default is slow without a graphics card"
    ).tag(by_machine=True)
    time_for_training = Automatic(
        Float(5, min=0.1, max=10000), help="[minutes] bounds the rounds of training; automatic: as the preset says"
    )
    number_of_epochs = Automatic(
        Int(100, min=1, max=5000), help="rounds of training; more give a better model and take longer"
    )
    number_of_steps = Automatic(Int(80, min=1, max=100000), help="batches per epoch; automatic: by the images' area")
    batch_size = Int(4, min=1, max=256, help="patches looked at together; 4 to 16, less if memory runs out")
    initial_learning_rate = Float(3e-4, min=1e-7, max=1.0, help="size of the learning steps; 0.0001 to 0.002")


training = Training(**overrides.get("training", {}))
training

# %% [markdown]
# ### 3.2 Look at the data
#
# Shows your images with their objects, and names every problem with its file and what to do. Nothing is to be filled
# in, unless masks may mean several things: then they are shown, and you write in form 3.1 which is right. Most failures
# of deep learning come from the data: **too little**, **uneven** (one day or patient looks different), or **faulty
# annotation**. The table *What the images are like* is what automatic fields follow from; their values now stand in the
# forms above. It went well when each object below has one outline, drawn where you would have drawn it.

# %% cellView="form" jupyter={"source_hidden": true}
# Read and show the data
# %run_the_cells_above_first
from IPython.display import display

runtime.start()
from utils.pages.page import live, show_figures, show_tables
from utils.tasks import page
from utils.exchange.package_task import unpack_start
from utils.tasks.objects.task import StarDist

task = StarDist()
unpack_start(data)
given = overrides.get("evaluation", {})
project = page.open_project(task, data.asked(), training.seed, training.preset, given)
page.settle(task, project, data, training)
page.show_project(task, project, training.values())

# %% [markdown]
# **Problems found, uneven images, duplicates.** Empty tables are good news. A warning is no order: look at the object
# that it names. An image named as *uneven* is not wrong, but look at it: another exposure, focus or magnification
# than the rest? A *duplicate* across training and test makes the score too good.

# %% cellView="form" jupyter={"source_hidden": true}
# Problems, uneven images, duplicates
# %run_the_cells_above_first
checks = task.checks(project, training.values())
show_tables(checks.tables, counted=True)

# %% [markdown]
# ### 3.3 Augmentation
#
# Every time a piece of an image is used it is changed a little ([augmentation](../README.md#glossary)), so that the
# network does not learn the few images by heart. Choose only changes that could happen at your microscope; leave
# the others to the data. Below, the upper pictures are as they are, the lower ones as changed; they are drawn anew when
# you change a value. The labels follow every turn and zoom exactly. It went well when the lower pictures could have
# come from your microscope, too.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: augmentation
# %run_the_cells_above_first
class Augmentation(Form):
    flip = Automatic(Bool(), help="mirror; no only if left and right differ in your images")
    rotate_90 = Automatic(Bool(), help="quarter turns; no only if up and down differ in your images")
    rotation = Automatic(Int(0, min=0, max=180), help="free rotation to either side in degrees; 0 = off, 10 to 180")
    zoom = Automatic(Int(0, min=0, max=100), help="larger or smaller by up to this %; 0 = off, 10 to 30 if sizes vary")
    intensity = Automatic(Int(20, min=0, max=90), help="contrast and brightness by up to this %; 10 to 40, 0 = off")
    blur = Float(0, min=0, max=5, help="blur by up to this many pixels; 0 = off, 1 if focus varies").tag(advanced=True)
    noise = Int(0, min=0, max=50, help="noise of up to this % of the intensity range; 0 = off, 2 to 10")
    stain = Automatic(
        Int(20, min=0, max=50), help="strength of each stain by up to this %; 10 to 30, only used for colour images"
    )


augmentation = Augmentation(**overrides.get("augmentation", {}))
page.settle(task, project, data, training, augmentation)
display(augmentation)
live(augmentation, lambda: task.augmentation_preview(project, training.values(), augmentation.values()))

# %% [markdown]
# ### 3.4 Start from a trained model
#
# If you named a model in the field *Starting model* of the first form, or the project's own model of nuclei was chosen
# there because your images are few and like it, the training starts from the [weights](../README.md#glossary) of that
# model, which needs fewer images and less time. Channels, rays, grid and filters must be the same; if not, it is said
# here what to change, and nothing is trained. It went well when the sentence below names the model that you meant, or
# says that the training starts from scratch. The authors of StarDist publish models that can be named:
# `2D_versatile_fluo` (fluorescent nuclei), `2D_versatile_he` (nuclei in H&E, colour), `2D_paper_dsb2018`, `2D_demo`;
# StarDist packages of the BioImage Model Zoo can be started from, too: write the zip file or its address there.

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
# schedule *cosine* the last. At the end two [thresholds](../README.md#glossary) are chosen on the validation images
# (three more bars).
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
# test images of the sample). An object counts as found if its outline and the annotated one overlap enough:
# [IoU](../README.md#glossary) is the area they have in common, divided by the area that either covers; 0.5 is a clear
# hit, 0.9 an exact outline. [AP](../README.md#glossary) = TP / (TP + FP + FN): objects found (TP), divided by all
# objects that were found, invented (FP) or missed (FN). Above 0.8 at IoU 0.5 is usually good, below 0.5 is poor. Beside
# the network an older and simpler method is scored, a threshold with a [watershed](../README.md#glossary): if it does
# as well, you need no network. It went well when no warning stands below the score and the pictures of errors show what
# you can live with.
#
# **Few images** were all tested in turn, before your model was trained: *Test source* may stay empty, and the text
# below the score says whose score it is.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: test images
# %run_section_1_first
class Evaluation(Form):
    test_source = Unicode("", help="folder of test images; empty = those set aside").tag(path=True)
    test_target = Unicode("", help="folder of their label images; found by itself, empty without a test source").tag(
        path=True, beside="test_source"
    )
    class_table = Unicode("", help="CSV with the class of each of their objects; only if the model knows classes").tag(
        path="file"
    )
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("stardist",)
    )


evaluation = Evaluation(**overrides.get("evaluation", {}))
evaluation

# %% cellView="form" jupyter={"source_hidden": true}
# Score the model
# %run_the_cells_above_first
from utils.tasks.held_out import evaluate, find_test_set

model_folder = resolve(evaluation.model_folder) if evaluation.model_folder else trained
test_set = find_test_set(task, model_folder, evaluation.test_source, evaluation.test_target, evaluation.class_table)
learned = project.examples("training") if model_folder == project.folder else ()
result = evaluate(task, model_folder, test_set, training=learned)
page.show_scores(task, result, model_folder)

# %% [markdown]
# **The errors, image by image**, the worst first: which objects are missed, invented, merged or split?

# %% cellView="form" jupyter={"source_hidden": true}
# Show the errors
# %run_the_cells_above_first
show_figures(task.evaluation_figures(result))

# %% [markdown]
# **Faulty annotation?** The images whose annotation disagrees most with the model. Look at the first ones: is the
# model wrong, or the annotation? The training images are listed too: the model has seen their labels, so a low value
# there is a strong hint.

# %% cellView="form" jupyter={"source_hidden": true}
# Doubtful annotation; write the report
# %run_the_cells_above_first
page.conclude(task, result, model_folder, project, checks)

# %% [markdown]
# ## 6. Predict on new images
#
# Finds the objects in every image of a folder, of any size; a stack (time or Z) is worked on slice by slice. Fill in
# *Data folder*, the folder of your new images. For each image you get a label image and the outlines as ImageJ
# [ROIs](../README.md#glossary) (open them in Fiji), a picture to look at, a row per object in `objects.csv` (place,
# area, shape, brightness) and a row per image in `counts.csv`. It went well when each object below has one outline;
# step through the images to see.
#
# With a model trained earlier this section alone will do (Colab: sections 1, 2 and 6): *Model folder* lists the models
# that are there. **A model of others** works, too: write `2D_versatile_he` or another published model (3.4) into that
# field, or the zip file, folder or address of a [package](../README.md#glossary) of the BioImage Model Zoo. Its
# checksums are checked, and no program code in it is run. If it does not say what its channels mean, you are asked for
# that (*Package channels*, under Advanced); without boundaries among them you get masks, as in the U-Net notebook.

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

cells.run_section_1("stardist_segmentation", globals())


# %% cellView="form" jupyter={"source_hidden": true}
# Form: new images
# %run_section_1_first
class Prediction(Form):
    data_folder = Unicode("", help="folder of images to segment; empty = the images of the sample, or of 3.1").tag(
        path=True
    )
    result_folder = Unicode("", help="folder for the results; empty = one for each model and folder").tag(path=True)
    model_folder = Unicode("", help="a model, a package or 2D_versatile_he ...; empty = the model just trained").tag(
        path="folder or file", models=("stardist",), names=("2D_versatile_fluo", "2D_versatile_he", "2D_paper_dsb2018")
    )
    package_channels = Unicode("", help="foreground, boundary ...; empty = as the package says").tag(advanced=True)
    axes = Enum(
        list(STACK_AXES), help="leave at automatic; order of time T, depth Z, height Y, width X and channels C"
    ).tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as the files say").tag(advanced=True)
    qupath = Enum(
        ["automatic", "yes", "no"], help="outlines for QuPath; automatic = of images whose pixel size is known"
    ).tag(advanced=True)


prediction = Prediction(**overrides.get("prediction", {}))
prediction

# %% cellView="form" jupyter={"source_hidden": true}
# Predict
# %run_section_1_first
from utils.exchange.opening import choose

made = (trained, data.training_source) if "trained" in globals() else (None, None)
chosen = choose(prediction.values(), "stardist_segmentation", *made)
runtime.start()
from utils.exchange.package_task import predicting
from utils.tasks import page
from utils.tasks.objects.task import StarDist
from utils.tasks.objects.viewer import viewer

model = predicting(chosen.model, StarDist(), prediction.package_channels)
given = {"axes": prediction.axes, "pixel_size": prediction.pixel_size, "qupath": prediction.qupath}
objects = model.name == "stardist"
page.show_prediction(model, chosen, figure=not objects, **given)
viewer(chosen.results) if objects else None

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
        path=True, models=("stardist",)
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
