"""The answers of the client's calls, one file for each noun: frozen values with the API's names, times as datetimes."""
