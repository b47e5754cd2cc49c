"""Documents: bills, credit notes and letters as PDF. Pure, but for the press, which runs typst."""
