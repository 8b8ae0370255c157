"""From a config to a model in production: prepare, train, export, validate, bias, check, promote, confirm.

    steps.py    the steps: which functions of the other commands they call, and what their results hang on
    engine.py   does the steps in order, each once; after a kill it goes on; what fails is taken back

Each step can be done by its own command as well; the workflow adds order, a record, and the way back.
"""
