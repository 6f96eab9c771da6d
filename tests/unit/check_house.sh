# The rules of the house hold in this tree and for the programs just built.
exec python3 "$top_srcdir/scripts/check-house" "$top_srcdir" "$top_builddir"
