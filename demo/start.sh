#!/bin/sh
# What many images have as their entry point. The shell is PID 1, has no trap, and passes no signal on.
echo "starting the program"
/bin/sleep 600
