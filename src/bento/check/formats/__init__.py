"""A check as text, JUnit, SARIF and Markdown. Pure; its JSON is the record itself."""
