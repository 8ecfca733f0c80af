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
# # Whole slides: how much of the tissue is fibrosis?
#
# A few slides that were annotated in QuPath teach a small neural network what fibrosis is; then it measures the share
# of fibrosis of every slide of a cohort. The results open in QuPath again, stand in a table of patients, and can be set
# beside other measurements of the same patients, such as the expression of genes.
#
# **How to use this page.** Click on the heading *3.2*, choose *Run > Run All Above Selected Cell* (Colab: *Runtime >
# Run before*), and fill in the forms of 3.1. Then choose *Run > Run Selected Cell and All Below* (Colab: *Run cell and
# below*). JupyterLab jumps to the end of the page: a box in its corner says how far the training is, and leads there
# when you click on it. A red box says what to do; cells below it name the section that they wait for. With nothing
# filled in, everything runs on twelve slides of **drawn, not real** liver that are made when they are needed: they show
# how the page works. What it gives on real liver you must find out with slides of your own. Words that you do not know
# are in the [glossary](../README.md#glossary).
#
# **You already have a trained model, or no annotations?** Section 6 alone will do: it measures with a model that is
# there, or with a threshold on the colour of the stain, without any network. Click on its heading and choose *Run >
# Run Selected Cell and All Below* (Colab: run sections 1, 2 and 6).
#
# U-Net: Ronneberger, Fischer and Brox, 2015,
# [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28). Please cite it when you publish
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
from utils.forms import Automatic, FolderName, Form, GroupRule, IfTaken
from utils.pages import cells
from utils.pages.notes import note
from utils.paths import resolve

forms.notebook("slide_fibrosis")
cells.begin("slide_fibrosis")
note(f"Ready: {', '.join(f'{name} {number}' for name, number in runtime.versions().items())}")

# %% [markdown]
# ## 2. Runtime and data folder
#
# Says which processor is used and where files are looked for: a path such as `data_samples/tissue` is taken from the
# folder shown here; a full path works too. There is nothing to fill in. **In Colab** the page now asks for access to
# your Google Drive: allow it, and models and results are kept there; without it Colab deletes them when the session
# ends. It went well when the folder of the project and the sample slides are listed below.

# %% cellView="form" jupyter={"source_hidden": true}
# Processor and folders
# %run_section_1_first
note(runtime.describe())
note(storage.prepare())
note(samples.descriptions(["slides"]))

# %% [markdown]
# ## 3. Data and parameters
#
# What the model learns from, and how. Fill in the forms of 3.1; then look at your data (3.2) and at how they are varied
# (3.3) before anything is trained.
#
# ### 3.1 Fill in the form
#
# **Your slides**: one folder of slides (.svs and other pyramidal TIFF) and the annotations of some of them, exported
# from QuPath as GeoJSON (*File > Export objects as GeoJSON*) under the name of the slide. Draw a few regions of each
# class on at least three patients; what nobody annotated counts nowhere, neither as background nor as anything else,
# nor does what you call `Ignore*` in QuPath. *Class groups* puts classes together, such as `fibrosis: Septum, Portal;
# ignore: Pen`.
#
# **Group rule**: all slides of a patient must stay together. Choose what your file names look like; names of TCGA say
# it themselves. **Few patients**: all are tested in turn, each by a model that was trained without that patient
# ([cross-validation](../README.md#glossary)); section 3.2 says how much longer that takes.
#
# **Um per pixel**: 0.5 shows nuclei and fibres. A larger value is quicker and shows more of what lies around a pixel;
# thin fibres are lost.
#
# **Training**: the [preset](../README.md#glossary) says how much time may be spent; it stands at the one that suits
# this computer. *Try out* takes a minute or two and shows how everything works, but its result is no result. *Quick on
# a CPU* gives a good model in minutes, whatever the number of slides. *Default* takes longer and is meant for a
# graphics card. Fields that say *automatic* are chosen from your slides: leave them, and once the slides are read (3.2)
# the value and the reason stand beside each of them. Whatever else you write there is used instead.
#
# It went well when no field is marked in red and the path below each folder of your data says *(found)*.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your slides
# %run_section_1_first
class Slides(Form):
    slide_folder = Unicode(
        "data_samples/slides/slides", help="folder of the slides; three patients or more that are annotated"
    ).tag(path=True)
    annotation_folder = Unicode(
        "data_samples/slides/annotations", help="folder of their GeoJSON files; empty = beside the slides"
    ).tag(path=True)
    group_rule = GroupRule(help="which slides belong together: one patient").tag(of="slide_folder")
    class_groups = Unicode("", help="classes put together, broad class: names; ignore: names; empty = as they are")
    measured_class = Unicode("Fibrosis", help="class whose share is wanted; as it is called in QuPath, or above")
    stain = Enum(["H&E", "PicroSirius Red", "Masson's trichrome"], help="stain of the slides; choose yours")
    um_per_pixel = Float(0.5, min=0.1, max=20, help="[um] width of a pixel for the network; 0.5 to 2")
    slide_pixel_size = Float(0, min=0, max=100, help="[um] width of a slide's pixel; 0 = as the files say").tag(
        advanced=True
    )


slides = Slides(**overrides.get("slides", {}))
slides


# %% cellView="form" jupyter={"source_hidden": true}
# Filled in from the slides
# %run_section_1_first
class Pieces(Form):
    training_source = Unicode("", help="pieces of the slides; leave empty, 3.2 fills it in").tag(
        path=True, advanced=True
    )
    training_target = Unicode("", help="their masks; leave empty, 3.2 fills it in").tag(path=True, advanced=True)
    group_rule = Unicode("", help="how patients are named; leave empty, 3.2 fills it in").tag(advanced=True)
    mask_type = Enum(["classes", "automatic"], help="what numbers in masks mean; leave it").tag(advanced=True)
    class_names = Unicode("", help="names of the classes; leave empty, 3.2 fills it in").tag(advanced=True, wide=True)
    ignore_value = Unicode("", help="what was not annotated; leave empty, 3.2 fills it in").tag(advanced=True)
    axes = Enum(["automatic"], help="leave at automatic").tag(advanced=True)
    pixel_size = Float(0, min=0, max=1000, help="[um] leave at 0; 3.2 knows it").tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your model
# %run_section_1_first
class Data(Pieces):
    model_name = FolderName("my_slides", help="name of the model; a folder of this name is made")
    starting_model = Unicode("", help="an earlier model to go on from (3.4); empty = from scratch").tag(path=True)
    percentage_test = Int(20, min=0, max=80, help="% of the patients kept aside for section 5; 10 to 30")
    model_path = Unicode(
        "models", help="folder that models are kept in; leave at models unless you keep them elsewhere"
    ).tag(path=True, advanced=True)
    percentage_validation = Automatic(Int(10, min=1, max=80), help="% of the rest that watches over the training").tag(
        advanced=True
    )
    test_in_turn = Automatic(
        Bool(), help="few patients: test on all of them in turn, by 4 more, shorter trainings; automatic: fewer than 30"
    ).tag(advanced=True)
    if_model_exists = IfTaken(help="if a model of this name was made with other data or settings").tag(advanced=True)


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
    loss = Enum(
        ["cross-entropy", "cross-entropy + Dice"],
        help="the error that training makes small; leave it, or try Dice if thin structures are missed",
    ).tag(advanced=True)
    filters = Int(
        16, min=4, max=128, help="width of the network; 16 to 64, more learns finer differences but is slower"
    ).tag(advanced=True)
    seed = Int(
        0, min=0, max=10**6, help="start of the random draws; leave at 0, or try 1, 2, ... to see what chance does"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# More of them, which are best left to the data
# %run_section_1_first
class Network(Advanced):
    normalisation = Enum(
        ["all images together"], help="leave it; range of brightness: a piece of a slide has none of its own"
    ).tag(advanced=True)
    half_resolution = Automatic(
        Bool(), help="3 times faster: computes coarsely, refines at the end; no for structures of a few pixels"
    ).tag(advanced=True)
    pooling_steps = Automatic(
        Int(2, min=1, max=5), help="how often the network looks at a coarser scale; 2 to 4, more for large structures"
    ).tag(advanced=True)
    patch_height = Automatic(
        Int(128, min=1, max=4096), help="pixels of the pieces that are learned from; 128 to 512"
    ).tag(advanced=True)
    patch_width = Automatic(
        Int(128, min=1, max=4096), help="pixels of the pieces that are learned from; 128 to 512"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: training
# %run_section_1_first
class Training(Network):
    quick = {"initial_learning_rate": 0.003, "learning_rate_schedule": "cosine", "patience": 0}
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
    batch_size = Int(8, min=1, max=256, help="patches looked at together; 8 to 16, no fewer than there are classes")
    initial_learning_rate = Float(
        3e-4,
        min=1e-7,
        max=1.0,
        help="size of learning steps; 0.0001 to 0.005; a third if few images go on from a model",
    )


training = Training(**overrides.get("training", {}))
training

# %% [markdown]
# ### 3.2 Look at the data
#
# Opens the slides, shows where tissue was found and what was left out of it (glass, pen, folds, places out of focus),
# and what was drawn by class and slide. There is nothing to fill in. Most failures of deep learning come from the data:
# **too little** (a class that was drawn on one patient only), **uneven** (one scanner or day looks different), or
# **faulty annotation**. It went well when the black line follows the tissue, and when the outlines on the pieces follow
# what was drawn.

# %% cellView="form" jupyter={"source_hidden": true}
# Read and show the data
# %run_the_cells_above_first
from IPython.display import display

runtime.start()
from utils.tasks.slides import page as slide_page

cohort = slide_page.open_cohort(slides.values())
slide_page.show_cohort(cohort, slides.stain)

# %% [markdown]
# **Pieces of the annotated regions** are cut from the slides: from these the network learns. What nobody annotated is
# grey below and counts nowhere.

# %% cellView="form" jupyter={"source_hidden": true}
# Cut what was annotated, and show it
# %run_the_cells_above_first
from utils.pages.page import live, show_figures, show_tables
from utils.tasks import page
from utils.tasks.slides.task import SlideUNet

pieces = slide_page.cut(cohort, slides.values(), resolve(data.model_path) / "pieces" / data.model_name)
for field, value in pieces.items():
    setattr(data, field, value)
task = SlideUNet(slides.stain, slides.measured_class)
given = overrides.get("evaluation", {})
project = page.open_project(task, data.asked(), training.seed, training.preset, given)
page.settle(task, project, data, training)
page.show_project(task, project, training.values())

# %% [markdown]
# **Problems found, uneven patients.** Empty tables are good news. A patient named as *uneven* is not wrong, but look at
# the slides: another stain, focus or scanner than the rest?

# %% cellView="form" jupyter={"source_hidden": true}
# Problems, uneven patients
# %run_the_cells_above_first
checks = task.checks(project, training.values())
show_tables(checks.tables, counted=True)

# %% [markdown]
# ### 3.3 Augmentation
#
# Every time a piece of a slide is used it is changed a little ([augmentation](../README.md#glossary)), so that the
# network does not learn the few slides by heart. Choose only changes that could happen in your laboratory; leave
# the others to the data. Below, the upper pictures are as they are, the lower ones as changed; they are drawn anew when
# you change a value. Masks follow every turn and zoom exactly. It went well when the lower pictures could have come
# from your scanner, too.


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
    noise = Int(0, min=0, max=50, help="noise of up to this % of the intensity range; 0 = off, 2 to 10").tag(
        advanced=True
    )
    stain = Automatic(
        Int(20, min=0, max=50), help="strength of each stain by up to this %; 10 to 30, only used for colour images"
    )
    empty = Automatic(
        Int(0, min=0, max=50), help="% of patches that show noise alone, so that empty images stay empty; 0 = off"
    ).tag(advanced=True)


augmentation = Augmentation(**overrides.get("augmentation", {}))
page.settle(task, project, data, training, augmentation)
display(augmentation)
live(augmentation, lambda: task.augmentation_preview(project, training.values(), augmentation.values()))

# %% [markdown]
# ### 3.4 Start from a trained model
#
# If you named a model in the field *Starting model* of the form *your model*, the training starts from the
# [weights](../README.md#glossary) of that model, which needs fewer slides and less time. The classes must be the same;
# if not, it is said here, and nothing is trained. It went well when the sentence below names the model that you meant,
# or says that the training starts from scratch.

# %% cellView="form" jupyter={"source_hidden": true}
# Where the training starts
# %run_the_cells_above_first
beginning = task.starting_note(project, data.values(), training.values())
note(beginning)

# %% [markdown]
# ## 4. Train
#
# The network learns from your slides; there is nothing to fill in. A bar shows the remaining time; the curve is redrawn
# while the training runs. It goes well when both [losses](../README.md#glossary) fall and then level out. If the
# [validation](../README.md#glossary) loss rises again while the training loss falls, the network learns by heart
# ([overfitting](../README.md#glossary)): use more slides or more augmentation; the best weights are kept, of the
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
forms.save_settings(slides, data, augmentation, training)
note(with_progress(task.train, project, forms.parameters(slides, data, augmentation, training)), project.folder)
page.show_trials(project)

# %% [markdown]
# ## 5. Evaluate
#
# How good is the model on patients that it has never seen? Leave *Test source* empty to use the patients set aside.
# What is scored are the annotated pieces of their slides; what nobody annotated does not count.
# [Dice](../README.md#glossary) and [IoU](../README.md#glossary) say how far the areas of model and annotation agree: 1
# is perfect; a Dice above 0.85 is usually good, below 0.6 poor. Beside a score stands its [95 %
# interval](../README.md#glossary): if it is wide, annotate more patients. Beside the network two older and simpler
# methods are scored, a threshold on the colour of the stain and a [pixel forest](../README.md#glossary): if one does as
# well, you need no network. It went well when no warning stands below the score and the pictures of errors show what
# you can live with.
#
# **Few patients** were all tested in turn, before your model was trained, and the text below the score says whose score
# it is.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: test images
# %run_section_1_first
class Evaluation(Form):
    test_source = Unicode("", help="folder of test images; empty = those set aside").tag(path=True)
    test_target = Unicode(
        "", help="folder of their masks; found by itself beside the images, empty without a test source"
    ).tag(path=True, beside="test_source")
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("unet",)
    )


evaluation = Evaluation(**overrides.get("evaluation", {}))
evaluation

# %% cellView="form" jupyter={"source_hidden": true}
# Score the model
# %run_the_cells_above_first
from utils.tasks.held_out import evaluate, find_test_set

model_folder = resolve(evaluation.model_folder) if evaluation.model_folder else trained
test_set = find_test_set(task, model_folder, evaluation.test_source, evaluation.test_target)
learned = project.examples("training") if model_folder == project.folder else ()
result = evaluate(task, model_folder, test_set, training=learned)
page.show_scores(task, result, model_folder)

# %% [markdown]
# **The errors, piece by piece**, the worst first: where does the model mark too much, where too little?

# %% cellView="form" jupyter={"source_hidden": true}
# Show the errors
# %run_the_cells_above_first
show_figures(task.evaluation_figures(result))

# %% [markdown]
# **Faulty annotation?** The pieces whose annotation disagrees most with the model; their names say slide and place.
# Look at the first ones: is the model wrong, or what was drawn? Pieces of the training are listed too: the model has
# seen what was drawn there, so a low value is a strong hint.

# %% cellView="form" jupyter={"source_hidden": true}
# Doubtful annotation; write the report
# %run_the_cells_above_first
page.conclude(task, result, model_folder, project, checks)

# %% [markdown]
# ## 6. Measure slides
#
# Measures every slide of a folder, tile by tile: only tissue is computed, whatever the size of the slide, and after a
# crash or the stop button the same cell goes on where it was. For each slide you get its class map (pyramidal
# OME-TIFF), a heat map, outlines for QuPath, and a row in `slides.csv`; `patients.csv` has a row for each patient.
# *Method* chooses the network, or a threshold on the colour of the stain, which needs no network and no annotations. It
# went well when the heat maps are dark where you see fibrosis, and no sentence says that a slide is unlike the
# training. Slides that the model has learned from are measured, too (the column *in training* says which, and which are
# of the same patients): how exact a share is, only the others can show.
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

cells.run_section_1("slide_fibrosis", globals())


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class AdvancedPrediction(Form):
    um_per_pixel = Float(
        0, min=0, max=20, help="[um] width of the pixels that are looked at; 0 = as trained, by colour 0.5"
    ).tag(advanced=True)
    threshold = Float(
        0, min=0, max=3, help="optical density of the colour threshold; 0 = usual for the stain, 0.1 to 0.4"
    ).tag(advanced=True)
    no_tissue = Unicode(
        "", help="classes that are no tissue, such as Vessel, Pen; empty = background, vessel, artefact"
    ).tag(advanced=True)
    tolerance = Float(2, min=0, max=50, help="[um] how far outlines for QuPath may be simplified; 1 to 10").tag(
        advanced=True
    )
    slide_pixel_size = Float(0, min=0, max=100, help="[um] width of a slide's pixel; 0 = as the files say").tag(
        advanced=True
    )
    cluster = Unicode(
        "", help="empty = this page computes; local = all cores of this computer; or a scheduler's address"
    ).tag(advanced=True)


# %% cellView="form" jupyter={"source_hidden": true}
# Form: slides to measure
# %run_section_1_first
class Prediction(AdvancedPrediction):
    slide_folder = Unicode("data_samples/slides/slides", help="folder of the slides to measure; your cohort").tag(
        path=True
    )
    group_rule = GroupRule(help="which slides belong together: one patient").tag(of="slide_folder")
    method = Enum(["network", "colour threshold"], help="network, or a threshold on the stain, which needs no model")
    measured_class = Unicode("", help="class whose share is wanted; empty = that of the model")
    stain = Enum(["H&E", "PicroSirius Red", "Masson's trichrome"], help="stain of the slides; choose yours")
    result_folder = Unicode("", help="folder for the results; empty = one for each model and folder").tag(path=True)
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("unet",)
    )


prediction = Prediction(**overrides.get("prediction", {}))
prediction

# %% cellView="form" jupyter={"source_hidden": true}
# Measure
# %run_section_1_first
runtime.start()
from utils.tasks.slides import page as slide_page

measured = slide_page.measure(prediction.values(), globals().get("trained"))

# %% [markdown]
# ### 6.1 Beside genes or clinical values
#
# A table of the same patients (CSV, or AnnData of scanpy), patients in lines or in columns: which of its measurements
# go with the share? Each is compared by ranks ([Spearman's correlation](../README.md#glossary)), and corrected for
# their number ([false discovery rate](../README.md#glossary)). *Hold constant* names a column such as the hospital or
# the batch, whose effect is taken out; numbers in it count by their order, so write batches with a letter. Without a
# table nothing is compared; that of the sample is `data_samples/slides/expression.csv`, its batches are called *site*.
# It went well when each patient of your slides was found in the table.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: other measurements
# %run_section_1_first
class Omics(Form):
    patient_table = Unicode("", help="table of patients: CSV, TSV or .h5ad; empty = nothing is compared").tag(
        path="file"
    )
    hold_constant = Unicode("", help="column whose effect is taken out, such as site; empty = none")


omics = Omics(**overrides.get("omics", {}))
omics

# %% cellView="form" jupyter={"source_hidden": true}
# What goes with the share
# %run_section_1_first measured
slide_page.show_omics(omics.values(), *measured)

# %% [markdown]
# ## 7. Export
#
# Other programs can use your model, too. Choose in the form what you need; without a tick nothing is written. Each
# export is opened with another program's reader and compared with this notebook on your test images. It went well when
# a folder is named below; it lies in that of the model under `export`, with a README that says how to open the files.
#
# With a model trained earlier, run sections 1, 2 and 7: *Model folder* lists the models that are there.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: other programs
# %run_section_1_first
class Export(Form):
    model_folder = Unicode("", help="folder of a trained model; empty = the model just trained").tag(
        path=True, models=("unet",)
    )
    onnx = Bool(False, help="on for any program that runs ONNX, with a short Python script that shows how")
    fiji = Bool(False, help="on for the plugins StarDist and CSBDeep of Fiji")
    title = Unicode("", help="name of the model for others; leave empty for the one above").tag(advanced=True)
    authors = Unicode("", help="who made it; empty = nobody is named").tag(advanced=True)
    licence = Unicode("", help="what others may do with it, such as CC BY 4.0; empty = not said").tag(advanced=True)
    description = Unicode("", help="what it is for: tissue, stain, microscope; empty = not said").tag(advanced=True)
    cite = Unicode("", help="publication to cite; empty = none").tag(advanced=True)


export = Export(**overrides.get("export", {}))
export

# %% cellView="form" jupyter={"source_hidden": true}
# Export
# %run_section_1_first
runtime.start()
from utils.exchange.export import show_exports

show_exports(export.values(), globals().get("trained"))
