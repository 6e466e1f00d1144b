"""Contact sheets, curves and report.html."""
