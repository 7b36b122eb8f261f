applyFilter();
showTheme();
watchFigures();
if (location.hash.startsWith("#trial-")) showTrial(location.hash.slice("#trial-".length));
