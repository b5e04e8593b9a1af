package lab

import (
	"context"
	"errors"
	"io"
)

// Drill builds the lab, runs Options.Repeat rounds of the fault on one cluster, and removes everything again, also when
// ctx ends. Progress lines for a person go to progress. An error means that the drill could not be carried out; a drill
// that was carried out and failed is a Report whose Verdict is VerdictFail.
//
// Without root it runs itself again in a user namespace: the same command line, in a child process whose progress and
// report come back here.
func Drill(ctx context.Context, o Options, progress io.Writer) (Report, error) {
	if _, err := o.withDefaults(); err != nil {
		return Report{}, err
	}
	return Report{}, errors.New("drill: not built yet")
}
