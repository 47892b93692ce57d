"""The rules of docs/rules.md as a program that is read rather than run: nothing is counted, everything is looked up anew."""
