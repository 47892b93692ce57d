"""Expressions: a subset of Python, compiled once, evaluated within counted budgets; safe for authors nobody trusts.

What other rooms use is exactly what is imported here.
"""

from perdure.expressions.budget import STEP_OPERATIONS as STEP_OPERATIONS
from perdure.expressions.budget import STEP_TOUCHED as STEP_TOUCHED
from perdure.expressions.budget import TASK_OPERATIONS as TASK_OPERATIONS
from perdure.expressions.budget import TASK_TOUCHED as TASK_TOUCHED
from perdure.expressions.budget import Budget as Budget
from perdure.expressions.budget import Spent as Spent
from perdure.expressions.durations import DURATION_MAX as DURATION_MAX
from perdure.expressions.durations import format_duration as format_duration
from perdure.expressions.durations import parse_duration as parse_duration
from perdure.expressions.errors import CODES as CODES
from perdure.expressions.errors import ExpressionError as ExpressionError
from perdure.expressions.errors import ValueRefused as ValueRefused
from perdure.expressions.errors import did_you_mean as did_you_mean
from perdure.expressions.expression import Expression as Expression
from perdure.expressions.expression import compile_expression as compile_expression
from perdure.expressions.names import FAMILIES as FAMILIES
from perdure.expressions.names import RESERVED_NAMES as RESERVED_NAMES
from perdure.expressions.names import Names as Names
from perdure.expressions.names import PlainNames as PlainNames
from perdure.expressions.names import WithLocals as WithLocals
from perdure.expressions.paths import find as find
from perdure.expressions.paths import parse_path as parse_path
from perdure.expressions.readings import paths_read as paths_read
from perdure.expressions.templates import Computed as Computed
from perdure.expressions.templates import Constant as Constant
from perdure.expressions.templates import ListTemplate as ListTemplate
from perdure.expressions.templates import MapTemplate as MapTemplate
from perdure.expressions.templates import Template as Template
from perdure.expressions.templates import Text as Text
from perdure.expressions.templates import compile_condition as compile_condition
from perdure.expressions.templates import compile_template as compile_template
from perdure.expressions.times import format_time as format_time
from perdure.expressions.times import parse_time as parse_time
from perdure.expressions.values import INT_MAX as INT_MAX
from perdure.expressions.values import INT_MIN as INT_MIN
from perdure.expressions.values import VALUE_DEPTH_MAX as VALUE_DEPTH_MAX
from perdure.expressions.values import check_value as check_value
from perdure.expressions.values import value_text as value_text
