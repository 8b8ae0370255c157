"""Rented machines: launch, then collect.

A job is work for one rented machine: files in, files out, under a key that is the hash of what goes in. Doing the same
work again is the same job, so nothing is launched or paid twice.

    jobs.py        the durable record: jobs, every pod ever intended for them, money; SQLite
    machine.py     one step of one job at a time, safe to repeat and safe to be killed in
    providers/     where machines come from: RunPod, any machine with ssh, this one
    bridges/       where files pass through: a folder, S3 and compatible, Hugging Face Hub; sealed.py encrypts them
    worker.py      what runs on the rented machine
    collect.py     whether what came back is whole and ours
    reaper.py      ends pods past their deadline, even if the job records are lost

Nothing here knows what the work is: a job's kind names a task (tasks.py) that packs it, does it and takes it home.
"""
