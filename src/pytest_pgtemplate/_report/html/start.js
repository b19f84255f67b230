// Fill the page.

showFigures();
showTimeSpent();
showRange(0, data.seconds);
listenToTimeline();
showFindings();
createTestTable();
document.documentElement.dataset.ready = String(tests.length);
