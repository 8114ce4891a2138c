"""What the client's calls answer, one file per noun: frozen values with the API's names, times as datetimes."""
