"""Benchmarks as seqio evaluation tasks and mixtures: MMLU, BIG-Bench Hard, MGSM and others.

    mmlu_astronomy_5shot        a task, its split "test"; eval_mmlu_5shot is all 57
    mmlu_astronomy_5shot_rank   the same, scored by the likelihood of the options
    bbh_navigate_cot            with the published chain-of-thought prompt

None of their datasets is in the catalog that training mixtures choose from, and none of their tasks
has a split "train".
"""
