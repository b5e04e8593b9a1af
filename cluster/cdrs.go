package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/cluster/api"
	"holdline/cluster/cdr"
	"holdline/fsm"
	"holdline/fsm/pb"
)

const (
	dirCDRs = "cdr"

	settingCDRFileSize = "cdr.file-size"
	settingCDRFiles    = "cdr.files"
	cdrFileMiB         = 64
	cdrFiles           = 64

	cdrSyncEvery = 5 * time.Second
	cdrRetry     = time.Second
	cdrGather    = 100 * time.Millisecond
)

// cdrs writes this node's files of call detail records.
type cdrs struct {
	writer atomic.Pointer[cdr.Writer]
}

func (c *cdrs) wake() {
	if w := c.writer.Load(); w != nil {
		w.Wake()
	}
}

// startCDRs opens the files and writes what comes. A node whose CDR directory can't be used does not start: that is
// better found out then than when a bill is due.
func (e *engine) startCDRs() error {
	ca := sha256.Sum256(e.ca.Cert.Raw) // a node that leaves and joins another cluster numbers anew
	w, err := cdr.Open(cdr.Options{
		Dir: filepath.Join(e.node.dir.path, dirCDRs), Prefix: hex.EncodeToString(ca[:4]), Source: e.machine,
		Limits: func() cdr.Limits {
			cfg := e.machine.Config()
			return cdr.Limits{FileBytes: cfg.SettingInt(settingCDRFileSize, cdrFileMiB) << 20, Files: int(cfg.SettingInt(settingCDRFiles, cdrFiles))}
		},
		Synced: e.cdrsSynced, SyncEvery: cdrSyncEvery, Retry: cdrRetry, Gather: cdrGather, Logger: e.logger,
	})
	if err != nil {
		return err
	}
	e.cdrs.writer.Store(w)
	e.wg.Go(func() {
		if err := w.Run(e.ctx); err != nil {
			e.logger.Error("closing CDR files failed", "err", err)
		}
	})
	return nil
}

// cdrsSynced tells the cluster how far this node's files are. It is told again with the next records if nothing is committed now.
func (e *engine) cdrsSynced(upTo uint64) {
	put := &pb.PutCursor{Name: fsm.NodeCursor(e.UUID), UpTo: upTo}
	e.submitter.Submit(&pb.Command{Op: &pb.Command_PutCursor{PutCursor: put}}, time.Second, func(r *pb.Result, err error) {
		if err == nil && r.Code != pb.Code_OK {
			e.logger.Debug("CDR cursor of this node refused", "up_to", upTo, "err", r.Error)
		}
	})
}

// ListCDRs implements api.Backend.
func (n *Node) ListCDRs(ctx context.Context, f api.CDRFilter) (api.CDRs, error) {
	e, err := n.member()
	if err != nil {
		return api.CDRs{}, err
	}
	limit := f.Limit
	if limit <= 0 || limit > api.MaxCDRs {
		limit = api.MaxCDRs
	}
	since := f.Since
	if f.Consumer != "" {
		cursors := e.machine.Cursors()
		i := slices.IndexFunc(cursors, func(c *pb.Cursor) bool { return c.Name == f.Consumer })
		if i < 0 {
			return api.CDRs{}, api.Errorf(api.CodeNotFound, "CDR consumer %s does not exist: it begins with `holdline cdr --consumer %s --since 0`", f.Consumer, f.Consumer)
		}
		since = cursors[i].UpTo
	}
	first, last := e.machine.CDRRange()
	if f.Latest {
		since = max(first-1, last-min(last, uint64(limit)))
	}
	rows := e.machine.CDRs(since, limit)
	if len(rows) == 0 && f.WaitS > 0 {
		if rows, err = e.awaitCDRs(ctx, since, limit, time.Duration(min(f.WaitS, api.MaxCDRWait))*time.Second); err != nil {
			return api.CDRs{}, err
		}
	}
	out := api.CDRs{Next: since, CDRs: make([]api.CDR, len(rows))}
	for i, c := range rows {
		out.CDRs[i] = cdr.Of(c)
		out.Next = c.Number
	}
	if _, out.Last = e.machine.CDRRange(); len(rows) > 0 {
		out.Missed = rows[0].Number - since - 1
	} else if first > since+1 { // the last one is gone too
		out.Missed, out.Next = first-1-since, first-1
	}
	return out, nil
}

const cdrPoll = 50 * time.Millisecond

// awaitCDRs waits for a record after since.
func (e *engine) awaitCDRs(ctx context.Context, since uint64, limit int, patience time.Duration) ([]*pb.Cdr, error) {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	poll := time.NewTicker(cdrPoll)
	defer poll.Stop()
	for {
		select {
		case <-poll.C:
			if rows := e.machine.CDRs(since, limit); len(rows) > 0 {
				return rows, nil
			}
		case <-enough.C:
			return nil, nil
		case <-e.ctx.Done():
			return nil, api.Errorf(api.CodeUnavailable, "this node is stopping")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// AcknowledgeCDRs implements api.Backend.
func (n *Node) AcknowledgeCDRs(ctx context.Context, consumer string, upTo uint64) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_PutCursor{PutCursor: &pb.PutCursor{Name: consumer, UpTo: upTo}}})
}

// RemoveCDRConsumer implements api.Backend.
func (n *Node) RemoveCDRConsumer(ctx context.Context, consumer string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_PutCursor{PutCursor: &pb.PutCursor{Name: consumer, Remove: true}}})
}

// CountCalls implements api.Backend.
func (n *Node) CountCalls(context.Context) (api.CallCounts, error) {
	e, err := n.member()
	if err != nil {
		return api.CallCounts{}, err
	}
	c := e.machine.CallCounts(true)
	members := make(map[string]int, len(c.Members))
	for k, n := range c.Members {
		members[k.Pool+"/"+k.Member] = n
	}
	return api.CallCounts{Total: c.Total, Domains: counted(c.Domains), Members: counted(members), Users: counted(c.Users)}, nil
}

// counted lists the most first.
func counted(m map[string]int) []api.CallCount {
	out := make([]api.CallCount, 0, len(m))
	for name, n := range m {
		out = append(out, api.CallCount{Name: name, Calls: n})
	}
	slices.SortFunc(out, func(a, b api.CallCount) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// collectCalls shows calls by domain and pool member, and what became of CDRs. Users are too many for labels.
func (collector) collectCalls(e *engine, ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	c := e.machine.CallCounts(false)
	for name, n := range c.Domains {
		put(descOfDomain, prometheus.GaugeValue, float64(n), name)
	}
	for k, n := range c.Members {
		put(descOfMember, prometheus.GaugeValue, float64(n), k.Pool, k.Member)
	}
	first, last := e.machine.CDRRange()
	put(descCDRs, prometheus.CounterValue, float64(last))
	put(descCDRKept, prometheus.GaugeValue, float64(last+1-first))
	if w := e.cdrs.writer.Load(); w != nil {
		put(descCDRFile, prometheus.GaugeValue, float64(w.Stats.Written.Load()))
		put(descCDRGone, prometheus.CounterValue, float64(w.Stats.Missed.Load()))
		put(descCDRFails, prometheus.CounterValue, float64(w.Stats.Failures.Load()))
	}
}
