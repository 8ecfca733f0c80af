"""A form in a notebook as a person uses it: type, choose, click through the folders of the file chooser."""

import re

SESSION = "window.jupyterapp.shell.currentWidget.sessionContext"
KERNEL_IS_IDLE = f"{SESSION}.session.kernel.status == 'idle'"


class FormOnPage:
    """The form of one name on a page of playwright; the newest, where its cell ran twice.

    Attributes
    ----------
    box : playwright.sync_api.Locator
        Everything that belongs to the form.
    """

    def __init__(self, page, name: str) -> None:
        self.page = page
        self.box = page.locator(f".form-{name}").last

    def field(self, name: str):
        """Row of one field."""
        return self.box.locator(f".field-{name}")

    def control(self, name: str):
        """What is typed into, or chosen from, in the row."""
        return self.field(name).locator("input, select").first

    def shown(self, *names: str) -> dict[str, str]:
        """Texts that the fields show."""
        return {name: self.control(name).input_value() for name in names}

    def fill(self, **texts: object) -> None:
        """Type into fields and choose from lists, unfolding the advanced fields where needed.

        As a person does, it waits for what a preset fills in before it types over it.
        """
        for name, text in texts.items():
            control = self.control(name)
            if not control.is_visible():
                self.unfold()
            if control.evaluate("e => e.tagName") == "SELECT":
                control.select_option(str(text))
            else:
                control.fill(str(text))
                control.press("Enter")
            self.page.wait_for_timeout(100)  # until the kernel knows
            self.page.wait_for_function(KERNEL_IS_IDLE)
            assert control.input_value() == str(text), f"{name} shows {control.input_value()}, not {text}"

    def unfold(self) -> None:
        """Open the advanced fields, if there are any and they are not open."""
        header = self.box.locator("[class*=Collapse-header]")
        if header.count() and not self.box.locator("[class*=Collapse-open]").count():
            header.first.click()

    def open_chooser(self, name: str) -> None:
        """Press the button beside a path."""
        self.field(name).locator(".choose").click()
        self.chooser.wait_for()

    @property
    def chooser(self):
        """The unfolded file chooser."""
        return self.box.locator(".chooser:visible")

    def pick(self, folder: str) -> None:
        """Go in the chooser from the folder of the project to a folder in it, click by click, and use that."""
        self.chooser.locator(".places select").select_option(label="Folder of the project")
        for part in folder.split("/"):
            self.chooser.locator(".entries option", has_text=re.compile(rf"^\W*{part}\W*$")).click()
            self.chooser.locator(".here", has_text=re.compile(rf"\b{part}\b")).wait_for()
        self.chooser.locator(".use").click()

    def load_model(self, folder: str) -> None:
        """Load the settings of the model in a folder."""
        self.box.locator(".load-model").click()
        self.pick(folder)
