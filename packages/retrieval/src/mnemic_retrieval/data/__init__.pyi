"""Readers of the layouts of public data sets."""

from .json_lines import read_json_lines as read_json_lines
from .questions import read_questions as read_questions
