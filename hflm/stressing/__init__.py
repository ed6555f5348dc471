"""What `hflm stress` is made of: perturbations, tests in rows, calibration, groups, memorisation, outputs, a report."""
