package vip

import "time"

// Status is a guard's account of itself.
type Status struct {
	PID         int           `json:"pid"`
	Uptime      time.Duration `json:"uptime_ns"`
	Configured  bool          `json:"configured"`
	CorePID     int           `json:"core_pid"`         // 0: no core is connected
	CoreBeatAge time.Duration `json:"core_beat_age_ns"` // since the core's progress counter last moved
	Epoch       uint64        `json:"config_epoch"`
	EpochReady  uint64        `json:"config_epoch_ready"` // higher than Epoch while a change of voters waits for other nodes
	RealTime    bool          `json:"real_time"`          // runs with real-time priority
	MemLocked   bool          `json:"mem_locked"`         // cannot be paged out
	Fence       string        `json:"fence"`              // "nftables" or "none: …why"
	Muted       bool          `json:"muted"`              // silent after a start or a suspend
	WorstLoop   time.Duration `json:"worst_loop_ns"`      // longest time one turn of the guard's loop took
	WorstLate   time.Duration `json:"worst_late_ns"`      // longest time the guard was woken late
	Groups      []GroupStatus `json:"groups"`
	Peers       []PeerStatus  `json:"peers"`
	Failures    []string      `json:"failures,omitempty"` // what could not be set up: sysctls, priority, sockets
	Alarms      []AlarmStatus `json:"alarms,omitempty"`   // the latest ones, oldest first
}

// GroupStatus is the state of one VIP group as its guard sees it.
type GroupStatus struct {
	Group      uint32        `json:"group"`
	VIPs       []string      `json:"vips"`
	Interfaces []string      `json:"interfaces"` // where each VIP lives; "" = no interface has an address in its network
	Held       bool          `json:"held"`
	Owner      uint32        `json:"owner"` // 0: nobody known
	Ballot     uint64        `json:"ballot"`
	Margin     time.Duration `json:"margin_ns"`    // held: left of the lease
	LastMove   time.Duration `json:"last_move_ns"` // from the last sign of the previous owner to address and announcement here; 0: none yet
	Candidate  bool          `json:"candidate"`
	WhyNot     string        `json:"why_not,omitempty"`   // not a candidate: why
	LastLost   string        `json:"last_lost,omitempty"` // reason of the last loss
	Destroyed  int           `json:"destroyed"`           // stream connections destroyed at losses
}

// PeerStatus is what is heard of another node.
type PeerStatus struct {
	Node     uint32        `json:"node"`
	Name     string        `json:"name"`
	Voter    bool          `json:"voter"`
	Alive    bool          `json:"alive"`        // heard within the last heartbeats
	Heard    bool          `json:"heard"`        // ever
	Age      time.Duration `json:"age_ns"`       // since its last valid heartbeat
	WorstGap time.Duration `json:"worst_gap_ns"` // longest silence; one of more than a second, or over its restart, is an absence and no gap
	Epoch    uint64        `json:"config_epoch"` // its config epoch
	Health   uint32        `json:"health"`       // 0 = healthy
}

// AlarmStatus is an alarm and how often it came.
type AlarmStatus struct {
	Text  string    `json:"text"`
	Count int       `json:"count"`
	Last  time.Time `json:"last"`

	told time.Time
}
