# Runs tests one command after another and counts what they report; to be sourced.
#
# Every command must say what passed as `N passed` and `M failed`, as Rust's tests and all runners of this project do.

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_commands=0

# test_with COMMAND...: its time and what it reports count
test_with() {
    local begin=$SECONDS
    printf '\n== %s\n' "$*"
    "$@" 2>&1 | tee -a "$log" || failed_commands=$((failed_commands + 1))
    echo "($((SECONDS - begin)) s)"
}

# sum WORD: all numbers reported before WORD
sum() {
    grep -Eo "[0-9]+ $1" "$log" | awk '{ sum += $1 } END { print sum + 0 }'
}

# tell: the count of all, which is the script's end
tell() {
    local passed failed
    passed=$(sum passed) failed=$(sum failed)
    # who fails without a word is one more
    [ "$failed" -gt 0 ] || failed=$failed_commands
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
