"""Makes a hard, labelled test bed out of a clean population: facilities, errors, look-alikes, truth."""
