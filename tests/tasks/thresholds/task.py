"""Otsu's threshold in each image: a task without a network, to show that the protocol asks for none."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from skimage.filters import threshold_otsu

from utils.data.copies import duplicates
from utils.data.examples import load_examples
from utils.data.folders import find_images
from utils.data.problems import problem_table
from utils.data.project import describe_images, open_project
from utils.data.uneven import class_shares, image_features, outliers
from utils.files import write_csv, write_text
from utils.images.image import read_image, write_tiff
from utils.metrics.pixels import pixel_headline, pixel_score_table, pixel_scores, readable_pixel_scores
from utils.pages.figures import show_pairs
from utils.pages.pictures import overlay, write_png
from utils.tasks.pixels.figures import error_map
from utils.tasks.results import Found, Results, check_channels, keep_earlier, left_out
from utils.tasks.task import Checks, Task, warnings_of
from utils.training.model_folder import finish, open_folder, read_model, save_model


@dataclass
class Otsu:
    """What is brighter than the threshold of its image."""

    description: dict

    @property
    def classes(self):
        return self.description["classes"]

    def class_ids(self, array):
        plane = np.asarray(array[..., 0])
        return (plane > threshold_otsu(plane)).astype(np.uint8)


class ThresholdResults(Results):
    """Writes masks/, overlays/ and shares.csv."""

    def files(self):
        return find_images(self.images)

    def begin(self, files):
        self.warnings += keep_earlier(self.folder, [one.name for one in files], ["shares.csv"])

    def predict_one(self, file):
        with left_out():
            image = read_image(file, self.axes)
            check_channels(image.array, file, self.description)
        ids = self.predictor.class_ids(image.array)
        write_tiff(self.folder / "masks" / f"{file.stem}.tif", 255 * ids, image.pixel_size_um)
        write_png(self.folder / "overlays" / f"{file.stem}.png", overlay(image.array, ids, self.predictor.classes))
        return Found([{"file": file.name, "share": ids.mean()}], image.pixel_size_um)

    def append(self, found, rows):
        write_csv(self.folder / "shares.csv", pd.DataFrame(rows))


class Thresholds(Task):
    """Foreground is what is brighter than Otsu's threshold of the image."""

    name, noun, title, unit, notebook = "thresholds", "threshold", "Threshold", "labelled images", "thresholds"
    needs_masks = True
    results = ThresholdResults
    score_table, headline = staticmethod(pixel_score_table), staticmethod(pixel_headline)

    def open(self, data, seed=0, start=None):
        return open_project(data, seed)

    def read(self, source, target, data, description, class_table=None):
        given = data["axes"], description["mask_type"], data["group_rule"], description["classes"]
        return load_examples(source, target, *given)

    def train(self, project, parameters, callbacks=()):
        asked = parameters["overrides"]["data"]["if_model_exists"]
        if open_folder(project.folder, parameters, project.split, asked) == "finished":
            return "It is there."
        kinds = {"task": self.name, "notebook": self.notebook, "mask_type": project.dataset.mask_type}
        history = pd.DataFrame({"epoch": [1], "loss": [0.0], "val_loss": [0.0], "learning_rate": [0.0]})
        files = {"save": lambda network, path: write_text(path, "nothing was learned"), "weights": "rule.txt"}
        save_model(project.folder, None, describe_images(project) | kinds, history, **files)
        finish(project.folder)
        return "There is nothing to train."

    def load(self, folder):
        return Otsu(read_model(folder, self.name))

    def scores(self, predictor, examples, classes=None):
        pairs = ((one.name, one.group, one.mask, predictor.class_ids(one.image.array)) for one in examples)
        return pixel_scores(pairs, classes or predictor.classes)

    def further_scores(self, evaluation):
        return {"scores": evaluation.table.to_dict("records")}

    def overview(self, project, training):
        return f"**{len(project.dataset.examples)} images.**"

    def counts(self, project, test_set=None):
        return class_shares(project.dataset, project.roles)

    def show_data(self, project):
        return self.show_examples(project.examples("training"), project.dataset.classes)

    def show_examples(self, examples, classes):
        return show_pairs(examples, classes)

    def checks(self, project, training, test_set=None):
        problems, examples = project.dataset.problems, project.dataset.examples
        uneven, copies = outliers(image_features(examples)), duplicates(examples)
        return Checks({"Problems": problem_table(problems)}, warnings_of(problems, uneven, copies))

    def score_tables(self, evaluation):
        return {"Scores": readable_pixel_scores(evaluation.table)}

    def evaluation_figures(self, evaluation):
        one, otsu = evaluation.test_set.examples[0], evaluation.predictor
        given = one.image.array, one.mask, otsu.class_ids(one.image.array), otsu.classes
        return {f"Errors in {one.name}": error_map(*given)}

    def summary(self, description, number_of_epochs):
        return "A threshold, chosen in each image by Otsu's rule. Nothing was learned."
