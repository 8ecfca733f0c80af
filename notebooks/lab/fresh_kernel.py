"""Run by every new kernel of .venv, where start.py puts it: cells say in words what they wait for.

Section 1 of a notebook puts its own answers in this place (`utils.pages.cells`); elsewhere, as in Colab, IPython names
the missing magic, whose name says the same.
"""


def _wait_for_section_1(shell):
    """Define the magics that cells of the notebooks begin with."""
    words = {
        "run_section_1_first": "This cell needs section 1, which was not run yet: run that first, then this cell. In "
        "section 6 the cell above the form, which loads the software, will do instead.",
        "run_the_cells_above_first": "This cell needs the cells above, which were not run yet: click on this cell and "
        "choose Run > Run All Above Selected Cell, then run it.",
    }

    class NotYet(Exception):
        pass

    def waiting(name):
        def magic(line):
            raise NotYet(words[name])

        return magic

    for name in words:
        shell.register_magic_function(waiting(name), "line", name)
    shell.set_custom_exc((NotYet,), lambda shell, kind, error, trace, tb_offset=None: print(error))


_wait_for_section_1(get_ipython())  # noqa: F821 - there in every kernel
del _wait_for_section_1
