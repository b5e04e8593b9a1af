package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"holdline/vip"
)

const (
	configureAgain = time.Second // after the guard has refused a configuration
	// guardPatience is for a guard to take a new set of lease voters, and for the news of it to go around.
	guardPatience = 2 * silentPeer
)

// configureGuard hands a configuration over. One that is not taken is tried again after a while (fresh: it has not been tried yet), for what is in its way may
// have gone by then: a full disk, or somebody on the port of the heartbeats.
func (e *engine) configureGuard(client *vip.Client, config vip.Config, fresh bool) {
	v := &e.vips
	if !fresh && !client.Working() { // it would keep all that follows the configuration waiting
		v.tryAgain(e.changed)
		return
	}
	v.last = config
	err := client.Configure(config)
	v.due = err != nil && !errors.Is(err, vip.ErrNotConnected) // with that the client hands it over when it has connected
	switch {
	case err == nil: // in force on this node
		e.epochReported(config.Self, config.Epoch)
		v.refuses("")
		return
	case errors.Is(err, vip.ErrNotConnected):
	case errors.Is(err, context.DeadlineExceeded): // status tells of a guard that stands still
		e.logger.Error("the guard has not answered to its configuration", "err", err)
	case strings.Contains(err.Error(), "shutting down"): // the box goes down: the guard was told before us, or its unit is being restarted
		e.logger.Info("the guard is stopping and takes no configuration", "err", err)
	case v.refuses(err.Error()):
		e.logger.Error("guard refused the configuration; it is tried again", "every", configureAgain, "err", err)
	}
	v.tryAgain(e.changed)
}

// tryAgain has f called after a while: once, however often it is asked for meanwhile. Of followVIPs.
func (v *vips) tryAgain(f func()) {
	if v.again == nil {
		v.again = time.AfterFunc(configureAgain, f)
	} else {
		v.again.Reset(configureAgain)
	}
}

// refuses notes why the guard refuses its configuration, "" when it does not, and says whether that is news.
func (v *vips) refuses(why string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if why == v.refused {
		return false
	}
	if why == "" { // the client has told of it, too
		v.alarms = slices.DeleteFunc(v.alarms, func(a alarm) bool { return a.text == v.refused })
	}
	v.refused = why
	return true
}

// refusal is why the guard refuses its configuration, "" when it does not.
func (v *vips) refusal() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refused
}

// expect notes the config epoch that the guards are to go by.
func (v *vips) expect(epoch uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if epoch != v.epoch {
		v.epoch, v.epochAt = epoch, time.Now()
	}
}

// behind says whether a guard that goes by an epoch has had time to take the one of now, and has not: its grants do not count when the others go by that, and
// it gets none.
func (v *vips) behind(epoch uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return epoch != 0 && epoch < v.epoch && time.Since(v.epochAt) > guardPatience // 0: a release that does not tell
}
