"""Rented machines: launch, then collect.

A job is work for one rented machine: files in, files out, under a key that is the hash of what goes in. Doing the same
work again is the same job, so nothing is launched or paid twice.

    jobs.py        the durable record: jobs, every pod ever intended for them, money; SQLite
    machine.py     one step of one job at a time, safe to repeat and safe to be killed in
    providers/     where machines come from: RunPod, any machine with ssh, this one
    bridges/       where files pass through: a folder, S3 and compatible, Hugging Face Hub
    sealed.py      how files lie there; seals.py keeps the keys
    parcel.py      the files of one job at a bridge; carrying.py and folders.py those of a model
    errand.py      the job's own side; results.py holds what came back against what was asked
    worker.py      what runs on the rented machine; ending.py ends that machine
    reaper.py      ends pods past their deadline, even if the job records are lost

None of these knows what the work is. A job's kind is one of three errands, each of which packs it, and holds what comes
back against what was asked:

    score          prompts in, answers out, part by part: errand.py, scoring.py, results.py
    train          settings and a data set in, a model out: building.py, training.py
    export         a trained model in, one that can be served out: building.py, exporting.py

asking.py and models.py are how the program asks for them.
"""
