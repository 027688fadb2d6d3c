"use strict";
(function () {
  var all = document.querySelectorAll("details");
  var button = document.getElementById("open-all");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var reasons = document.querySelectorAll("#reasons details");
      var open = button.textContent === "Open all";
      reasons.forEach(function (d) { d.open = open; });
      button.textContent = open ? "Close all" : "Open all";
    });
  }
  var was = [];
  window.addEventListener("beforeprint", function () {
    was = Array.prototype.map.call(all, function (d) { return d.open; });
    document.querySelectorAll("#findings details, #curves details").forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () {
    Array.prototype.forEach.call(all, function (d, i) { d.open = was[i]; });
  });
})();
