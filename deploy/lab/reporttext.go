package lab

import (
	"fmt"
	"io"
)

// WriteText writes the report for a person.
func (r Report) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "verdict: %s\n", r.Verdict)
	return err
}
