"""icl_lab: which explanation of in-context learning a trained transformer bears out, and where evidence cannot tell.

Everything that answers a prompt is a learner, and every claim about a learner is checked on learners whose mechanism
is known. The rooms, from the bottom up: ``prompts``, ``tasks``, ``formats``, ``models``, ``learners``, ``training``,
``probes``, ``hypotheses``, ``runs``, ``report``; ``icl_lab.cli`` is the command line.
"""

__version__ = "0.1.0"
