package vip

func guardMain() int { return 2 }
func coreMain() int  { return 2 }
