# Turns a page of plain text into HTML: an empty line begins a new paragraph.
BEGIN { print "<!doctype html><title>" title "</title>" }
/^$/  { if (inside) print "</p>"; inside = 0; next }
      { if (!inside) print "<p>"; inside = 1; print }
END   { if (inside) print "</p>" }
