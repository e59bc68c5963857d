"""Probes that look inside a transformer, by name. They return numbers, never a verdict."""

INTERNAL: dict[str, str] = {
    "interchange_effect": "how far the answer goes to another prompt's when one layer, head and token comes from there",
    "ablation_effect": "change of the loss when a head, an MLP or a pattern is zeroed, averaged or another prompt's",
    "joint_ablation_effect": "the same of a set of heads, with random sets of the same layers as control",
    "task_vector_losses": "share of the in-context gain that one vector per task brings to a dummy prompt; controls",
    "task_vector_conflict": "examples of one task, the vector of another: which of them is answered",
    "soft_prompts": "the best vector for a task by gradient descent, an upper bound for task vectors",
    "linear_readout": "held-out R², or nats saved, of a statistic of the prompt read off every layer and token",
    "mlp_readout": "the same with one hidden layer",
    "layer_answers": "early exit: every layer's own answer, against iterates of gradient descent and Newton's method",
    "convergence_order": "linear or doubling convergence from layer to layer",
    "attention_likeness": "every head against previous token, prefix matching, nearest example, own input, parent",
    "attention_kernels": "the softmax kernel over inputs nearest to every head, its bandwidth and what it explains",
    "logit_attribution": "the answer as the sum of what embedding, heads, biases and MLPs wrote",
    "weight_cosine": "effective weight matrices against the hand-built gradient step, scale apart",
    "interpolation_losses": "loss on the line from trained weights to the construction",
}
