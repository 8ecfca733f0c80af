#!/bin/bash
# Double click in the Finder (macOS) to open the notebooks in the browser; start.sh does the work.
exec bash "$(dirname "$0")/start.sh" "$@"
