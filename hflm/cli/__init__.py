"""The command line: parse, call, show. Only this room prints."""
