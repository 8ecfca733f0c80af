"""The button of the classification notebook that looks for wrong labels."""

from collections.abc import Mapping

import ipywidgets as widgets
from IPython.display import display
from tqdm.auto import tqdm

from utils.classification import describe
from utils.errors import UserError
from utils.label_issues import suspects
from utils.label_review import suspects_gallery, write_review
from utils.pages import tidy
from utils.plots import show
from utils.projects import Project


def button(project: Project, training: Mapping, path: str) -> widgets.VBox:
    """Button that searches the project's images for wrong labels when it is pressed; nothing happens before.

    Parameters
    ----------
    project
        From `projects.open_crops`.
    training
        Values of the form, for size and range of the images and the seed.
    path
        CSV file that the suspected images are written to.
    """
    press = widgets.Button(description="Look for wrong labels", layout=widgets.Layout(width="16em"))
    page = widgets.Output()

    def pressed(_) -> None:
        press.disabled = True
        page.clear_output()
        try:
            with page:
                search(project, training, path)
        finally:
            press.disabled = False

    press.on_click(pressed)
    return widgets.VBox([press, page])


def search(project: Project, training: Mapping, path: str) -> None:
    """Find suspected wrong labels, show them, and write them to `path` for a person to correct."""
    try:
        table = suspects(project.dataset.crops, describe(project, training), training["seed"], tqdm)
        said = write_review(path, table)
    except UserError as error:
        print(f"{error.title}: {error}")
        return
    if len(table):
        show(suspects_gallery(project.dataset.crops, table))
        display(tidy(table.head(20)))
    print(said)
