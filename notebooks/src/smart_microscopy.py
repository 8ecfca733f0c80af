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
# # Smart microscopy: look gently, film only what is rare
#
# The microscope looks at all positions now and then with little light, finds the cells, asks a
# [classifier](../README.md#glossary) what each of them does, and films a cell at full quality only when it does what
# you wait for, such as entering mitosis. You get films of the events, a table of all cells in all surveys, and how much
# light that saved. Any microscope that Micro-Manager can drive will do.
#
# **How to use this page.** Choose *Run > Run All Cells* (Colab: *Runtime > Run all*) and watch: with nothing filled in
# it runs on a **simulated culture** of cells that move, divide, bleach and suffer from light, no microscope needed.
# Then fill in the forms of sections 2 and 3, and run the page again. A red box says what to do; cells below it name
# the section that they wait for. Words that you do not know are in the [glossary](../README.md#glossary).
#
# **Before you use a real microscope**: try your protocol on the simulated culture, then on a film of your own cells
# (section 2 takes a recorded film in place of a microscope), then at the microscope with section 3.5 alone. The stage
# never leaves the range that you give, and the light is off after every step, also after an error.

# %% cellView="form" jupyter={"source_hidden": true} tags=["parameters"]
# Values given by a program; nothing to do here
overrides = {}  # values given headless: {"limits": {"duration": 8}}

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

from utils import forms, storage
from utils.forms import FolderName, Form
from utils.pages import cells
from utils.pages.notes import note
from utils.paths import resolve

forms.notebook("smart_microscopy")
cells.begin("smart_microscopy")
note(f"Ready: {', '.join(f'{name} {number}' for name, number in runtime.versions().items())}")
note(runtime.describe(trains=False))
note(storage.prepare())

# %% [markdown]
# ## 2. Microscope
#
# What looks at the cells. Leave *simulated culture*, or choose *Micro-Manager demo* (Micro-Manager's own imaginary
# devices, which show stripes and no cells: take the preset *count only* with it), the configuration file (`.cfg`) of
# your microscope, or a recorded film (a TIFF stack, or a folder of images in the order of their names), on which a
# protocol can be tuned before anything real is lit. Bring the sample into view and into focus first: positions are
# counted from where the stage stands now. **Stage range** and **focus range** are limits that the program never leaves,
# whatever the protocol asks for.
#
# It went well when the table below lists your camera, stage, channels and the width of a pixel.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: microscope
# %run_section_1_first
class Microscope(Form):
    microscope = Unicode(
        "simulated culture", help="simulated culture, Micro-Manager demo, a .cfg file, or a recorded film"
    ).tag(path="folder or file", names=("simulated culture", "Micro-Manager demo"))
    stage_range = Float(500, min=0, max=200000, help="[um] how far the stage may go to each side; 100 to 5000")
    focus_range = Float(20, min=0, max=5000, help="[um] how far the focus may go up and down; 5 to 50")
    time_step = Float(0, min=0, max=100000, help="[minutes] of a film, between its frames; 0 = as the file says").tag(
        advanced=True
    )
    pixel_size = Float(0, min=0, max=1000, help="[um] width of a pixel; 0 = as microscope or film say").tag(
        advanced=True
    )
    seed = Int(0, min=0, max=10**6, help="which simulated culture; leave at 0, or try 1, 2, ...").tag(advanced=True)


microscope = Microscope(**overrides.get("microscope", {}))
microscope

# %% cellView="form" jupyter={"source_hidden": true}
# Open the microscope
# %run_section_1_first
runtime.start()
from utils.microscope import page

scope = page.open_scope(microscope.values())

# %% [markdown]
# ## 3. Protocol
#
# What is looked at, what is waited for, what is done then, and what is never exceeded. Fill in 3.1 to 3.3, or leave
# them as they are for a first try; 3.4 and 3.5 check them before anything begins.
#
# ### 3.1 Survey
#
# How often all positions are looked at, and with how much light. The survey should be gentle: an exposure that just
# shows what a cell does. An event must last longer than the time between two surveys, or it is missed. The first of the
# channels is the one in which cells are found. It went well when no field is marked in red.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: survey
# %run_section_1_first
class Survey(Form):
    survey_channels = Unicode("", help="channels, with commas; the first shows the cells; empty = that of nuclei")
    survey_exposure = Float(30, min=0.1, max=60000, help="[ms] exposure of a survey; 10 to 100, as short as will do")
    survey_interval = Float(5, min=0.05, max=1440, help="[minutes] between two surveys; 2 to 15 for mitosis")
    grid_rows = Int(1, min=1, max=50, help="fields below each other, around where the stage stands; 1 to 5")
    grid_columns = Int(1, min=1, max=50, help="fields beside each other; 1 to 5")
    positions = Unicode("", help="places in um, such as 0, 0; 400, -100; empty = the grid above").tag(advanced=True)


survey = Survey(**overrides.get("survey", {}))
survey

# %% [markdown]
# ### 3.2 Event
#
# What is waited for. The [preset](../README.md#glossary) fills in the classes; they may be classes or broad classes
# of your classifier. **Classifier**: a model of the classification notebook, trained on crops of such cells, from the
# same microscope at about the same magnification. Without one an example is trained on the sample *mitosis*; it shows
# how the page works and is no model for your cells. **Detector**: a model of the StarDist notebook; without one cells
# are found by a threshold, which is enough where nuclei are bright and not crowded. A detector that never saw
# dividing nuclei overlooks them: the dry run (3.5) shows it. *Mitosis entry* waits for prometaphase and metaphase,
# well before anaphase: a prophase looks much like a nucleus at rest. A cell counts when its
# [probability](../README.md#glossary) is high enough, all its earlier surveys taken together: one odd image does not
# start a film. It went well when no field is marked in red.


# %% cellView="form" jupyter={"source_hidden": true}
# Rarely changed fields of the next form
# %run_section_1_first
class AdvancedEvent(Form):
    smallest_area = Float(0, min=0, max=1e6, help="[um2] smaller cells are no event; 0 to 50").tag(advanced=True)
    largest_area = Float(2000, min=0, max=1e6, help="[um2] larger cells are no event; 300 to 5000").tag(advanced=True)
    cell_diameter = Float(12, min=1, max=1000, help="[um] of a nucleus, where there is no detector; 5 to 30").tag(
        advanced=True
    )
    most_movement = Float(20, min=0.1, max=1000, help="[um] a cell moves at most between two surveys; 5 to 30").tag(
        advanced=True
    )


# %% cellView="form" jupyter={"source_hidden": true}
# Form: event
# %run_section_1_first
class Event(AdvancedEvent):
    presets = {"anaphase": {"event_classes": "earlyana, lateana"}, "count only": {"event_classes": ""}}
    preset = Enum(["mitosis entry", "anaphase", "count only"], help="what is waited for; fills in the classes")
    event_classes = Unicode(
        "prometaphase, metaphase", help="classes of the model, with commas; empty = cells are only counted"
    )
    probability = Float(0.8, min=0.01, max=1, help="least probability of these classes together; 0.5 to 0.95")
    n_frames = Int(1, min=1, max=100, help="surveys in a row in which it must be seen; 1 to 3, more is slower")
    classifier = Unicode("", help="folder of a classification model; empty = an example").tag(
        path=True, models=("classification",)
    )
    detector = Unicode("", help="folder of a StarDist model; empty = a threshold").tag(path=True, models=("stardist",))


event = Event(**overrides.get("event", {}))
event

# %% [markdown]
# ### 3.3 Action and limits
#
# **Action**: how an event is filmed. Several cells of a field that are due at once share one film; surveys go on
# meanwhile. **Limits**: light on each field (exposures added up, by which cells suffer), time, and room on the disk,
# whichever comes first. A film that is centred on a cell near the edge lights a part of the next field, too, but counts
# for the field of its cell alone: set the limit lower than what your cells bear. The results go into a folder of the
# name *Experiment*. To go on with an experiment that was stopped, leave its name and its forms as they were and run the
# page again; for a new one choose a new name. It went well when no field is marked in red.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: action
# %run_section_1_first
class Action(Form):
    burst_frames = Int(10, min=0, max=10000, help="images of a film one after the other; 5 to 60")
    burst_interval = Float(30, min=0.1, max=36000, help="[s] between two images of a film; 10 to 120")
    burst_exposure = Float(100, min=0.1, max=60000, help="[ms] exposure at full quality; 50 to 300")
    burst_channels = Unicode("", help="channels that are filmed, with commas; empty = those of the survey")
    z_slices = Int(3, min=1, max=200, help="planes of focus in each image of a film; 1 to 15")
    z_step = Float(1, min=0.01, max=100, help="[um] between two planes of focus; 0.3 to 3").tag(advanced=True)
    centre = Bool(True, help="brings the cell into the middle first; off if the stage must stay")


action = Action(**overrides.get("action", {}))
action


# %% cellView="form" jupyter={"source_hidden": true}
# Form: limits
# %run_section_1_first
class Limits(Form):
    duration = Float(2, min=0, max=1000, help="[hours] of the experiment; 1 to 72, 0 = until you stop it")
    light_per_field = Float(0, min=0, max=1e6, help="[s] of light on one field at most; 10 to 200, 0 = no limit")
    disk = Float(5000, min=0, max=1e8, help="[MB] of images at most; 1000 to 100000, 0 = no limit")
    when_full = Enum(["stop", "go on"], help="when the disk is full: stop, or go on without keeping images").tag(
        advanced=True
    )
    experiment = FolderName("my_experiment", help="name of the experiment; a folder of this name is made")
    result_folder = Unicode("results/smart_microscopy", help="folder that experiments are kept in").tag(path=True)


limits = Limits(**overrides.get("limits", {}))
limits

# %% [markdown]
# ### 3.4 Check the protocol
#
# Says in words what will be done, and what your microscope lacks for it, before anything moves. There is nothing to
# fill in. It went well when the table says what you meant.

# %% cellView="form" jupyter={"source_hidden": true}
# Check the protocol
# %run_the_cells_above_first
asked = forms.parameters(microscope, survey, event, action, limits)["overrides"]
protocol = page.plan(scope, asked)
folder = resolve(limits.result_folder) / limits.experiment
finder = page.find_with(scope, protocol, event.values())

# %% [markdown]
# ### 3.5 Dry run
#
# What would be filmed now: each cell has an outline in the colour of what it seems to do, and a ring if it would be an
# event. *Look once* takes one survey of all positions, with light that is not counted; without it the last survey of
# the experiment is shown and nothing is lit. Choose the least [probability](../README.md#glossary) here, on cells that
# are not part of the experiment (of the simulated culture another one is looked at), not after seeing the results of
# section 5. It went well when outlines follow the cells, and rings are around those that you would film, too.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: dry run
# %run_section_1_first
class Trial(Form):
    look_once = Bool(True, help="takes one survey now; off = the last survey of the experiment, without light")


trial = Trial(**overrides.get("trial", {}))
trial

# %% cellView="form" jupyter={"source_hidden": true}
# Dry run
# %run_the_cells_above_first
watcher = page.dry_run(scope, protocol, finder, event.most_movement, trial.look_once, folder)

# %% [markdown]
# ## 4. Run
#
# The experiment. There is nothing to fill in. Below you see the last survey, the newest events, and the light so far
# beside that of filming everything. With the simulated culture or a film, hours pass in minutes.
#
# You may **stop** with the stop button (square): the image that is being taken is finished, the light goes off, and all
# files are whole. Run the cell again to go on. After a crash of the computer run the page with the same forms: it goes
# on with the experiment of that name. It went well when the last line says that the time is over, or what else ended
# it.

# %% cellView="form" jupyter={"source_hidden": true}
# Run the experiment
# %run_the_cells_above_first
forms.save_settings(microscope, survey, event, action, limits)
finished = page.observe(scope, protocol, watcher, folder, limits.when_full)

# %% [markdown]
# ## 5. Judge
#
# How good were the decisions? With the **simulated culture** the truth is known: how many events were caught before
# they were over, how many films show one, how many began when it was over already, and how late the others began, each
# with its [95 % interval](../README.md#glossary). With **real cells** nobody knows what was missed; but look at the
# films below and fill in the numbers of those that show no event in *Wrong bursts*, or *none*: the share that is right
# ([precision](../README.md#glossary)) follows. For how many events were missed, mark some surveys by hand. A classifier
# that errs often does better with more and more varied training images, nuclei of all ages among them. It went well
# when most films show what you waited for.


# %% cellView="form" jupyter={"source_hidden": true}
# Form: your marks
# %run_section_1_first
class Marks(Form):
    wrong_bursts = Unicode(
        "", help="numbers of films that show no event: 2, 5; none = all are right; empty = not marked"
    )


marks = Marks(**overrides.get("marks", {}))
marks

# %% cellView="form" jupyter={"source_hidden": true}
# Judge, and write the report
# %run_the_cells_above_first finished
report = page.conclude(scope, protocol, watcher, finished, marks.wrong_bursts, asked)

# %% [markdown]
# ## 6. Files
#
# What lies in the folder of the experiment; there is nothing to fill in. Surveys and films are OME-TIFF with time,
# place, channel, width of a pixel and exposure, which Fiji opens (drag them onto its window). `events.csv` has a row
# for each event, `tracks.csv` for each cell in each survey, with what it seemed to do then and what follows from its
# whole track. It went well when the table lists them.

# %% cellView="form" jupyter={"source_hidden": true}
# List the files
# %run_the_cells_above_first finished
page.list_files(finished, watcher)
