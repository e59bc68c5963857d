"""Training: pure functions from members and a state to a new state, compiled once per chunk."""

from icl_lab.training.ensemble import Member as Member
from icl_lab.training.ensemble import stack as stack
from icl_lab.training.loop import TrainState as TrainState
from icl_lab.training.loop import init_state as init_state
from icl_lab.training.loop import shardings as shardings
from icl_lab.training.loop import train_chunk as train_chunk
from icl_lab.training.settings import TrainingSettings as TrainingSettings
