"""The library of functions that expressions may call; importing this room registers them all."""

from perdure.expressions.functions import chance as chance
from perdure.expressions.functions import decimals as decimals
from perdure.expressions.functions import encodings as encodings
from perdure.expressions.functions import kinds as kinds
from perdure.expressions.functions import lists as lists
from perdure.expressions.functions import numbers as numbers
from perdure.expressions.functions import objects as objects
from perdure.expressions.functions import patterns as patterns
from perdure.expressions.functions import strings as strings
from perdure.expressions.functions import tables as tables
from perdure.expressions.functions import times as times
from perdure.expressions.functions.catalogue import FUNCTIONS as FUNCTIONS
from perdure.expressions.functions.catalogue import Function as Function
