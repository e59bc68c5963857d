"""Transformers as pure functions, with named sites to read and replace, and weights set by hand."""

from icl_lab.models.config import TransformerConfig as TransformerConfig
from icl_lab.models.constructions import one_layer_config as one_layer_config
from icl_lab.models.constructions import one_step_gd as one_step_gd
from icl_lab.models.functional import Model as Model
from icl_lab.models.functional import Params as Params
from icl_lab.models.sites import SITES as SITES
from icl_lab.models.sites import capture as capture
from icl_lab.models.sites import patch as patch
from icl_lab.models.sites import site_table as site_table
from icl_lab.models.transformer import Transformer as Transformer
