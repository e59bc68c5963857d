"""Words of the report: names and colours, glossary, sentences, and tables for the terminal."""
