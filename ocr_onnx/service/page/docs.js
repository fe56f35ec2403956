// Shows the address of this server in the examples.
for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
