"""Models and voices that the operator installs by name: finding, downloading, checking and keeping them."""
