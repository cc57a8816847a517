"""Settings of Sphinx for the documentation of Fungible."""

import sys
from pathlib import Path

from fungible import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Fungible"
author = "The Fungible developers"
project_copyright = "The Fungible developers, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "reference"]
exclude_patterns = ["_build", "_ext"]
needs_sphinx = "9.0"
nitpicky = True

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
myst_links_external_new_tab = False

html_theme = "pydata_sphinx_theme"
html_title = "Fungible"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navigation_depth": 2,
    "show_prev_next": False,
    "primary_sidebar_end": [],
    "header_links_before_dropdown": 4,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}
