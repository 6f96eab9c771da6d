# The manual pages in the tree are those that the programs' option tables make.
exec bash "$top_srcdir/scripts/make-man" "$top_builddir" --check
