"""Why two records are, or are not, one person, from the files of a finished run.

    opened.py      a finished run: finds records and persons, reads the few rows that are concerned
    waterfall.py   a pair's log-odds, from the prior to the sum, taken apart judge by judge
    histories.py   two clinical histories side by side, in words
    clustering.py  what clustering made of a pair, and why
    persons.py     a person: its pairs, its weakest bridge, its nearest neighbours
    words.py       what features are about, and how values are written
    svg.py         a waterfall as a picture
    ties.py        all pairs of one person: the strongest way between two records, the weakest bridge

Nothing here is written down but the picture that is asked for. What is shown holds patient text; errors do not.
The command line imports only the file that it needs: most of the time goes into imports.
"""
